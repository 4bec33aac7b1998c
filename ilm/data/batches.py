"""Tables that are longer than memory, a batch of rows at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from ilm.data.schema import reading

ROWS = 1 << 20
"""Of a batch, about."""


@dataclass(frozen=True)
class Batches:
    """The rows of a Parquet file, in order. They can be gone through again and again.

    Raises, while they are gone through:
        ArtifactError: the file is missing or damaged.
    """

    path: Path
    columns: Sequence[str]
    rows: int = ROWS
    """Of a batch, at most."""
    few: Sequence[str] = ()
    """Columns of few different texts: they come as Categorical."""

    def __iter__(self) -> Iterator[pl.DataFrame]:
        with reading(self.path), pq.ParquetFile(self.path, read_dictionary=self.few, pre_buffer=False) as file:
            for batch in file.iter_batches(self.rows, columns=self.columns):
                yield pl.DataFrame(batch)
