"""The pipeline's Parquet features as arrays for training; pyarrow and numpy only: a bare GPU machine reads them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ilm.errors import ArtifactError


def read_pairs(path: Path, left: str, right: str) -> NDArray[np.int32]:
    """Two index columns as [m, 2]."""
    table = read_columns(path, [left, right])
    return np.stack([integers(table, left), integers(table, right)], axis=1)


def read_item_texts(path: Path) -> tuple[NDArray[np.int32], list[str]]:
    """Item index [m] and text of every item-text pair."""
    table = read_columns(path, ["item_index", "text"])
    return integers(table, "item_index"), table["text"].to_pylist()


def read_columns(path: Path, columns: list[str], only: list[tuple[str, str, str]] | None = None) -> pa.Table:
    """Of the rows for which `only` holds; nothing that reading took is kept.

    Raises:
        ArtifactError: the file is missing, damaged or has other columns.
    """
    try:
        table = pq.read_table(path, columns=columns, filters=only)
        pa.default_memory_pool().release_unused()  # of reading, as much again as the table
        return table
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise ArtifactError(f"{path}: not readable ({error}). Run the step that writes it: `dvc repro`.") from None


def integers(table: pa.Table, column: str) -> NDArray[np.int32]:
    """A column of indexes as an array [m]."""
    values: NDArray[np.int32] = table[column].to_numpy().astype(np.int32, copy=False)
    return values
