"""Step `report`: what the page shows beside metrics.json, in reports/showcase.json, and the page itself."""

from typing import TYPE_CHECKING, Any

from tasks import paths
from tasks.step import Step, main

if TYPE_CHECKING:
    from ilm.params import EvaluateParams


def run(step: Step) -> None:
    """Show the model at work, and draw the page.

    Raises:
        DataError: no test cases, or examples, sequences and catalogue are of different runs.
        ArtifactError: an input is missing or damaged.
    """
    from ilm.files import read_json, write_json, write_text
    from ilm.report.report import render

    metrics = read_json(paths.METRICS)
    showcase = {
        "settings": step.params.model_dump(by_alias=True),
        **_training(),
        **_model_at_work(step.params.split.strategy, step.params.evaluate),
    }
    write_json(paths.SHOWCASE, showcase)
    write_text(paths.REPORT, render(metrics, showcase))


def _training() -> dict[str, Any]:
    """Loss curves of both stages, and the retrieval check of the first."""
    from ilm.data.schema import CATALOGUE, ITEM_TEXT, read_table
    from ilm.files import read_json
    from ilm.model.storage import HISTORY
    from ilm.report.stage1_retrieval import retrieval_table

    stage1, stage2 = (read_json(folder / HISTORY) for folder in (paths.PRETRAINED, paths.FINETUNED))
    text_items = read_table(paths.ITEM_TEXT_PAIRS, ITEM_TEXT)["item_index"].to_numpy()
    items = read_table(paths.CATALOGUE, CATALOGUE, with_text=True).height
    return {
        "training": {"stage1": stage1, "stage2": stage2},
        "retrieval": retrieval_table(stage1, text_items, items),
    }


def _model_at_work(strategy: str, settings: "EvaluateParams") -> dict[str, Any]:
    """Its item space, five users, and the length of its prompts."""
    import numpy as np
    import torch

    from ilm.cf.factors import load
    from ilm.data.examples import held_out_examples
    from ilm.data.schema import CATALOGUE, USER_IDS, read_table, reading
    from ilm.data.sequences import scan_sequences
    from ilm.eval.cases import candidate_items, held_out_cases
    from ilm.prompts.attributes import read_attributes
    from ilm.prompts.catalogue import Catalogue
    from ilm.rank.head import load_recommender
    from ilm.rank.prompting import encoded_catalogue
    from ilm.report.item_space import item_space
    from ilm.report.prompt_length import prompt_tokens
    from ilm.report.showcase import Showcase

    table, sequences = read_table(paths.CATALOGUE, CATALOGUE, with_text=True), scan_sequences(paths.SEQUENCES)
    user_ids = dict(read_table(paths.USER_IDS, USER_IDS).rows())
    examples = held_out_examples(paths.EXAMPLES, "test", settings.max_users, settings.seed)
    with reading(paths.SEQUENCES):
        cases = held_out_cases(examples, sequences, "sequential")
        candidates = candidate_items(sequences, table["active"].to_numpy(), strategy)
    known, factors = read_attributes(paths.CATALOGUE), load(paths.CF_FACTORS)
    catalogue = Catalogue(table["item_id"].to_list(), known.titles, known.active)
    ranker = load_recommender(paths.FINETUNED, paths.CF_FACTORS, settings.batch_size)
    model, card = ranker.model, ranker.card

    spaces = {"cf": factors.item_factors}
    if card.encoder["kind"] != "text":
        means = [queries.mean(dim=1) for queries in encoded_catalogue(model, card, factors)]
        spaces["encoder"] = torch.cat(means).cpu().numpy()
    lengths = np.linalg.norm(factors.item_factors, axis=1, keepdims=True)
    directions = factors.item_factors / np.maximum(lengths, np.finfo(np.float32).tiny)
    users = Showcase(ranker, catalogue, known, directions, candidates).users(cases)
    return {
        "model": {"encoder": card.encoder["kind"], "recipe": card.recipe, "language_model": card.language_model},
        "item_space": item_space(spaces, known),
        "users": [user | {"user": user_ids[user["user"]]} for user in users],
        "test_users": len(cases.targets),
        "prompt_tokens": prompt_tokens(model, card.max_history, cases.histories, known.titles),
    }


if __name__ == "__main__":
    main("report", run)
