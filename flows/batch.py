"""`ilm recommend --all-users`: the loop is `ilm.serve.batch`; here is what is seen of it."""

import time
from pathlib import Path


def recommend_all_users(project: Path, name: str, out: Path, k: int) -> None:
    """Write recommendations for all users of a model into a file, with a bar.

    Args:
        project: root folder.
        name: of the model: an alias, a version or a folder.
        out: as in `ilm.serve.batch.recommend_all`.
        k: items per user.

    Raises:
        IlmError: the model does not load, or the file holds something else.
    """
    from tqdm import tqdm

    from flows.registry import named_bundle
    from ilm.files import digest
    from ilm.serve.batch import recommend_all
    from ilm.serve.bundle import CONFIG
    from ilm.serve.item_language_model import ItemLanguageModel

    folder = named_bundle(project, name)
    model = ItemLanguageModel.from_pretrained(folder)
    users = len(model.questions.users())
    began, answered = time.perf_counter(), 0
    with tqdm(total=users, unit=" users", disable=None) as bar:
        for done, asked in recommend_all(model, digest(folder / CONFIG), out, k):
            answered += done if asked else 0
            bar.update(done)
    kept = f", {users - answered:,} of them kept" if answered < users else ""
    print(f"recommend  {users:,} users{kept}, {answered / (time.perf_counter() - began):,.1f} per second  {out}")
