"""The systems that read nothing but the log: ids and their order. Any data have that, with item texts or without."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.baselines.als import Als
from ilm.baselines.curve import read_curve, recording
from ilm.baselines.item_knn import ItemKnn
from ilm.baselines.popularity import Popularity
from ilm.baselines.recent_items import RecentItems
from ilm.baselines.sasrec import load_sasrec, save_sasrec
from ilm.baselines.sasrec_training import HeldOut, train_sasrec, training_of
from ilm.bench.kept import key_of, once
from ilm.bench.progress import printing
from ilm.cf.factors import Factors, load
from ilm.eval.cases import held_out_cases
from ilm.eval.protocol import Recommender
from ilm.files import digest, read_json, replaced
from ilm.model.storage import HISTORY
from ilm.train.checkpoint import CheckpointStore
from ilm.train.distributed import find_hardware

Built: TypeAlias = tuple[Recommender, dict[str, float], dict[str, Any]]
"""A system that can rank; the seconds of its training by stage, where it has one; and what there is to say of it."""


@dataclass(frozen=True)
class Log:
    """What such a system may learn from: the train part; and the valid part, to know when to stop."""

    features: Path
    out: Path
    """Where what is trained is kept."""
    sequences: pl.DataFrame
    examples: pl.DataFrame
    items: int
    sasrec: Mapping[str, Any]
    """Section of the settings."""

    def train(self) -> list[NDArray[np.int32]]:
        """The items of each user in the train part, oldest first."""
        rows = self.sequences.filter(pl.col("part") == "train").sort("user_index", "position")
        starts = np.flatnonzero(np.diff(rows["user_index"].to_numpy())) + 1
        return np.split(rows["item_index"].to_numpy(), starts)

    def counts(self) -> NDArray[np.int64]:
        """Interactions of the train part per item [n_items]."""
        train = self.sequences.filter(pl.col("part") == "train")
        return np.bincount(train["item_index"].to_numpy(), minlength=self.items)

    def factors(self) -> Factors:
        """ALS vectors of the train part."""
        return load(self.features / "cf.safetensors")


def _sasrec(log: Log, seed: int) -> Built:
    training = training_of(log.sasrec, seed)
    key = key_of(asdict(training), [log.features / "sequences.parquet", log.features / "examples.parquet"], _TRAINED)
    model = log.out / "models" / f"sasrec-{key}"
    curve, label = model.with_name(f"{model.name}.jsonl"), f"sasrec seed {seed}"

    def train() -> None:
        valid = held_out_cases(log.examples, log.sequences, "sequential", "valid")
        store = CheckpointStore(log.out / "checkpoints" / "sasrec", key)
        trained, history = train_sasrec(
            log.train(), HeldOut(valid.seen, valid.targets), log.items, training, store,
            recording(curve, label, printing(label)), find_hardware("fp32"),
        )  # fmt: skip
        with replaced(model) as folder:
            save_sasrec(folder, trained, history)

    seconds = once(model, train, "train")
    record = {
        "settings": {"sasrec": asdict(training)},
        "sha256": {"sasrec": digest(model)},
        "curves": {"sasrec": read_json(model / HISTORY)},
        "checks": read_curve(curve),
    }
    return load_sasrec(model), seconds, record


LOG_SYSTEMS: dict[str, Callable[[Log, int], Built]] = {
    "popularity": lambda log, seed: (Popularity(log.counts()), {}, {}),
    "als": lambda log, seed: (Als(log.factors()), {}, {}),
    "item-knn": lambda log, seed: (ItemKnn(log.train(), log.items), {}, {}),
    "recent-items": lambda log, seed: (RecentItems(log.factors().item_factors, log.counts()), {}, {}),
    "sasrec": _sasrec,
}
"""Name -> how it learns from a log, with a seed."""

SEEDED = {"sasrec"}
"""Of these, the ones whose result depends on the seed. (ALS has its own, `cf.seed`: all systems share its vectors.)"""

CODE = ("baselines", "cf", "bench/log_systems.py")
_TRAINED = (*CODE, "train", "model/shards.py")


def code_of(system: str) -> tuple[str, ...]:
    """What computes its scores."""
    return _TRAINED if system in SEEDED else CODE
