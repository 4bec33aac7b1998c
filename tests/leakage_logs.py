"""Small logs whose future can be changed, the real steps on them, and what they learned."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from small_logs import FakeStep, with_params

from ilm.bench.trials import Trials
from ilm.data import schema
from ilm.eval.protocol import Cases, Ranking
from ilm.files import digest
from ilm.params import Params
from tasks import paths
from tests.tiny import save_language_model, save_text_encoder

USERS, ITEMS, LENGTH = 24, 16, 10
MAPS = (paths.USER_IDS, paths.ITEM_IDS, paths.CATALOGUE)
LEARNED = (paths.CF_FACTORS, paths.ITEM_TEXT_PAIRS, paths.ITEM_ITEM_PAIRS, paths.USER_ITEM_PAIRS)
TITLES = [f"Film {item} (20{item:02})" for item in range(ITEMS)]
KNOWN = np.arange(ITEMS) < ITEMS - 1
"""All items but the last."""
RAW = Path("data/raw")
Rows = list[tuple[str, str, int]]


def logs() -> Rows:
    """(user, item, time), all times distinct; in the same hour of every user, so that one moment cuts all."""
    rng = np.random.default_rng(0)
    items = [rng.permutation(ITEMS)[:LENGTH] for _ in range(USERS)]
    return [
        (f"u{user:02}", f"i{items[user][place]:02}", 1_600_000_000 + 3600 * place + 60 * user)
        for user in range(USERS)
        for place in range(LENGTH)
    ]


def write(rows: Rows, **more_items: str) -> None:
    """Raw logs: rows, and the items' titles, with further ones by item_id."""
    for folder in (RAW, Path("data/logs")):
        folder.mkdir(parents=True, exist_ok=True)
    table = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    table.write_csv(RAW / "interactions.csv")
    titles = {f"i{item:02}": title for item, title in enumerate(TITLES)} | more_items
    pl.DataFrame({"item_id": list(titles), "title": list(titles.values())}).write_csv(RAW / "items.csv")


def run(params: Params, *steps: object) -> None:
    for step in steps:
        step.run(FakeStep(params))  # type: ignore[attr-defined]


PARAMS = with_params(cf={"factors": 4, "iterations": 5})
BY_TIME = with_params(cf={"factors": 4, "iterations": 5}, split={"strategy": "global_time"})


def sequences() -> pl.DataFrame:
    return schema.read_table(paths.SEQUENCES, schema.SEQUENCES)


def of_part(part: str) -> pl.DataFrame:
    return sequences().filter(part=part)


def examples(part: str) -> pl.DataFrame:
    return schema.read_table(paths.EXAMPLES, schema.EXAMPLES).filter(split=part)


def popularity() -> list[int]:
    return np.bincount(of_part("train")["item_index"].to_numpy(), minlength=ITEMS).tolist()


def what_was_learned(*files: Path) -> dict[str, object]:
    """By name: bytes of files as digests, and the tables of which only a part is learned."""
    found: dict[str, object] = {str(path): digest(path) for path in files}
    tables = {"train part": of_part("train"), "train examples": examples("train")}
    return found | {name: table.rows() for name, table in tables.items()} | {"popularity": popularity()}


def tiny_models(folder: Path) -> dict[str, dict[str, object]]:
    """Settings of both trainings."""
    return {
        "model": {"text_encoder": str(save_text_encoder(folder / "bert")),
                  "llm": str(save_language_model(folder / "llama")), "layers": 2, "queries": 2, "cf_tokens": 2},
        "pretrain": {"recipe": "IT-II-UI", "steps": 2, "batch_size": 6, "paired_rows": 3, "interaction_batch_size": 8,
                     "warmup": 1, "max_text_tokens": 16},
        "finetune": {"steps": 2, "context_epochs": 1, "warmup": 1},
    }  # fmt: skip


def judged(params: Params, systems: Sequence[str]) -> tuple[Cases, dict[str, Ranking]]:
    """What `ilm bench` makes of the features, of systems that read the log alone."""
    trials = Trials(paths.FEATURES, Path("kept"), params.model_dump(by_alias=True))
    rankings = {name: trials.of_log(name, seed=0).rankings["sequential"] for name in systems}
    return trials.cases["sequential"], rankings
