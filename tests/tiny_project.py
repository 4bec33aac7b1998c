"""A project after its `pairs` step: tiny features, tiny models, settings to match. Training takes seconds."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from ilm.cf import factors as cf_factors
from ilm.cf.drift import Drift, save_drift
from ilm.data import schema
from ilm.params import Params
from tasks import paths
from tests.tiny import save_language_model, save_text_encoder

ITEMS, USERS, WIDTH = 12, 20, 4


def write_project(folder: Path, **sections: dict[str, object]) -> Path:
    """Write params.yaml, with the given settings changed, and data/features into the (new) folder."""
    folder.mkdir()
    small: dict[str, dict[str, object]] = {
        "pairs": {"max_history": 4},
        "model": {
            "text_encoder": str(save_text_encoder(folder / "bert")),
            "llm": str(save_language_model(folder / "llama")),
            "layers": 2,
            "queries": 2,
            "cf_tokens": 2,
        },
        "pretrain": {
            "recipe": "IT-II-UI", "steps": 8, "batch_size": 8, "paired_rows": 4, "interaction_batch_size": 8,
            "warmup": 2, "max_text_tokens": 16, "held_out_fraction": 0.3, "checkpoint_every": 4,
        },
        "finetune": {"steps": 8, "context_epochs": 2, "warmup": 2, "checkpoint_every": 4},
    }  # fmt: skip
    raw = Params().model_dump(by_alias=True)
    for changes in (small, sections):
        for section, values in changes.items():
            raw[section] |= values
    params = Params.model_validate(raw)
    (folder / "params.yaml").write_text(yaml.safe_dump(params.model_dump(by_alias=True)), encoding="utf-8")
    _write_features(folder)
    return folder


def _write_features(folder: Path) -> None:
    rng = np.random.default_rng(0)
    items, users = (rng.normal(size=(count, WIDTH)).astype(np.float32) for count in (ITEMS, USERS))
    fit = {
        "regularization": 0.05,
        "alpha": 10.0,
        "iterations": 1,
        "seed": 0,
        "item_map_hash": "i",
        "user_map_hash": "u",
    }
    space = cf_factors.space_identity(items, **fit)
    cf_factors.save(folder / paths.CF_FACTORS, cf_factors.Factors(items, users, space, **fit))
    save_drift(folder / paths.DRIFT, Drift("first", "", 1, space))
    histories = [[int(item) for item in rng.permutation(ITEMS)[:6]] for _ in range(USERS)]
    titles = [f"{'comedy' if item % 2 else 'horror'} {item}" for item in range(ITEMS)]
    genres = [title.split()[0] for title in titles]
    pairs = sorted({(a, b) for history in histories for a, b in pairwise(history)})
    user_item = [(user, item) for user, history in enumerate(histories) for item in history[:4]]
    examples = [
        (task, split, user, history[:end], history[end])
        for task in ("sequential", "straightforward")
        for split, end in (("train", 3), ("valid", 4), ("test", 5))
        for user, history in enumerate(histories)
    ]
    tables = {
        paths.CATALOGUE: pl.DataFrame(
            {"item_index": range(ITEMS), "item_id": [f"i{n}" for n in range(ITEMS)], "title": titles, "genres": genres,
             "active": [True] * ITEMS}, schema_overrides={"item_index": pl.Int32},
        ),
        paths.ITEM_TEXT_PAIRS: frame([(n, 0, title) for n, title in enumerate(titles)], schema.ITEM_TEXT),
        paths.ITEM_ITEM_PAIRS: frame([(*pair, 1) for pair in pairs], schema.ITEM_ITEM),
        paths.USER_ITEM_PAIRS: frame(user_item, schema.USER_ITEM),
        paths.EXAMPLES: frame(examples, schema.EXAMPLES),
    }  # fmt: skip
    for path, table in tables.items():
        schema.write_table(table, folder / path)


def frame(rows: list[tuple[object, ...]], columns: schema.Schema) -> pl.DataFrame:
    """A table of rows."""
    return pl.DataFrame(rows, schema=dict(columns), orient="row")
