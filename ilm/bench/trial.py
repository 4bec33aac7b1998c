"""A trial: one system, trained with one seed and ranked over the whole catalogue; and the folder that it is kept in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ilm.errors import ArtifactError
from ilm.eval.protocol import Cases, Ranking
from ilm.files import read_json, replaced, write_json

SCORES, RECORD = "scores.parquet", "trial.json"


@dataclass(frozen=True)
class Trial:
    """A finished trial."""

    system: str
    """With what was taken away from it, if anything: "ilm - soft tokens"."""
    seed: int
    rankings: Mapping[str, Ranking]
    """Task -> ranks of all cases."""
    seconds: Mapping[str, float]
    """What took how long: pretrain, finetune or train (where known), rank."""
    record: Mapping[str, Any]
    """Of systems that are trained: settings, sha256 of what came of it, training curves. Else empty."""


def save_trial(folder: Path, trial: Trial, cases: Mapping[str, Cases]) -> None:
    """Write a trial, whole or not at all."""
    with replaced(folder) as temporary:
        temporary.mkdir()
        ranks_table(trial.rankings, cases).write_parquet(temporary / SCORES)
        write_json(temporary / RECORD, {n: v for n, v in vars(trial).items() if n != "rankings"})


def load_trial(folder: Path, cases: Mapping[str, Cases]) -> Trial:
    """Read a kept trial on the same cases.

    Raises:
        ArtifactError: it is damaged, or of other users.
    """
    try:
        table = pl.read_parquet(folder / SCORES, memory_map=False)
        rankings = {task: _ranking(table.filter(pl.col("task") == task), cases[task]) for task in cases}
        return Trial(rankings=rankings, **read_json(folder / RECORD))
    except (pl.exceptions.PolarsError, OSError, ValueError, TypeError) as error:
        raise ArtifactError(f"{folder}: damaged ({error}). Delete this folder and run again.") from None


def ranks_table(rankings: Mapping[str, Ranking], cases: Mapping[str, Cases]) -> pl.DataFrame:
    """Columns task, user_index, target, rank_filtered, rank_unfiltered, top (a list); in the order of the cases."""
    parts = [
        pl.DataFrame(
            {
                "task": [task] * len(ranking.filtered),
                "user_index": cases[task].user_index,
                "target": cases[task].targets,
                "rank_filtered": ranking.filtered,
                "rank_unfiltered": ranking.unfiltered,
                "top": ranking.top.tolist(),
            },
            schema_overrides={"top": pl.List(pl.Int32)},
        )
        for task, ranking in rankings.items()
    ]
    return pl.concat(parts)


def _ranking(rows: pl.DataFrame, cases: Cases) -> Ranking:
    if rows["user_index"].to_list() != cases.user_index.tolist() or rows["target"].to_list() != cases.targets.tolist():
        raise ValueError("other users or targets")
    top = np.array(rows["top"].to_list(), dtype=np.int32)
    return Ranking(rows["rank_filtered"].to_numpy(), rows["rank_unfiltered"].to_numpy(), top)
