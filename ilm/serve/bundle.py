"""The bundle: one folder with everything a recommender needs but the language model, which it names by hash."""

import shutil
from pathlib import Path

from ilm.errors import ArtifactError

MODEL = "model"
FACTORS = "cf.safetensors"
CATALOGUE = "catalogue.parquet"
USERS = "user_ids.parquet"
SEQUENCES = "sequences.parquet"


def make_bundle(out: Path, features: Path, model: Path) -> None:
    """Copy a finetuned model and the features that it answers with into the new folder `out`.

    Raises:
        ArtifactError: something is missing.
    """
    sources = [features / name for name in (FACTORS, CATALOGUE, USERS, SEQUENCES)]
    missing = [str(path) for path in (*sources, model) if not path.exists()]
    if missing:
        raise ArtifactError(f"cannot bundle a model: {', '.join(missing)} not found. Run `ilm train` or `dvc repro`.")
    out.mkdir(parents=True)
    for path in sources:
        shutil.copyfile(path, out / path.name)
    shutil.copytree(model, out / MODEL)
