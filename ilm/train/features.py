"""The pipeline's Parquet features as arrays for training; pyarrow and numpy only: a bare GPU machine reads them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ilm.errors import ArtifactError
from ilm.prompts.material import Choices, Histories


def read_examples(path: Path, task: str, split: str) -> Choices:
    """Histories (oldest first) and targets [m] of one task ("sequential", "straightforward") and split ("train",
    "valid", "test"); nothing else is read where the file is sorted by these."""
    table = _read(path, ["history", "target"], [("task", "=", task), ("split", "=", split)])
    values = pc.list_flatten(table["history"]).to_numpy()
    ends = np.cumsum(pc.list_value_length(table["history"]).to_numpy(), dtype=np.int64)
    return Choices(Histories(values.astype(np.int32, copy=False), ends), _integers(table, "target"))


def read_pairs(path: Path, left: str, right: str) -> NDArray[np.int32]:
    """Two index columns as [m, 2]."""
    table = _read(path, [left, right])
    return np.stack([_integers(table, left), _integers(table, right)], axis=1)


def read_item_texts(path: Path) -> tuple[NDArray[np.int32], list[str]]:
    """Item index [m] and text of every item-text pair."""
    table = _read(path, ["item_index", "text"])
    return _integers(table, "item_index"), table["text"].to_pylist()


def _read(path: Path, columns: list[str], only: list[tuple[str, str, str]] | None = None) -> pa.Table:
    try:
        table = pq.read_table(path, columns=columns, filters=only)
        pa.default_memory_pool().release_unused()  # of reading, as much again as the table
        return table
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise ArtifactError(f"{path}: not readable ({error}). Run the step that writes it: `dvc repro`.") from None


def _integers(table: pa.Table, column: str) -> NDArray[np.int32]:
    values: NDArray[np.int32] = table[column].to_numpy().astype(np.int32, copy=False)
    return values
