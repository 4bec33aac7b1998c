"""Rows dealt out to files on disk, so that all rows of a user, or of an item, can be worked on in little memory."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from ilm.data.batches import ROWS

MOST_BUCKETS = 256
"""Each is an open file while rows are dealt out; so, in a very long table, buckets grow."""


class Buckets:
    """Rows that are dealt out to numbered files, and taken up again bucket by bucket.

    Args:
        folder: is there and empty; the caller removes it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        self._open = ExitStack()

    def add(self, rows: pl.DataFrame, bucket: NDArray[np.integer]) -> None:
        """Deal out rows of equal columns; those of a bucket keep their order.

        Args:
            rows: some of them.
            bucket: where each belongs, [rows].
        """
        order = np.argsort(bucket, kind="stable")
        table, ordered = rows[order].to_arrow(), bucket[order]
        for first, after in zip(*runs(ordered), strict=True):
            self._writer(int(ordered[first]), table.schema).write_table(table.slice(first, after - first))

    def take(self, bucket: int) -> list[pl.DataFrame]:
        """The rows of a bucket as one frame, or none; its file goes. After the first take, nothing can be added."""
        self._open.close()
        path = self._path(bucket)
        if not path.exists():
            return []
        with pa.OSFile(str(path)) as file:
            table = pa.ipc.open_stream(file).read_all()
        path.unlink()
        return [pl.DataFrame(table)]

    def _writer(self, bucket: int, schema: pa.Schema) -> pa.ipc.RecordBatchStreamWriter:
        if bucket not in self._writers:
            writer = pa.ipc.new_stream(str(self._path(bucket)), schema)
            self._writers[bucket] = self._open.enter_context(writer)
        return self._writers[bucket]

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket}.arrow"


def portions(rows: NDArray[np.integer], most: int = ROWS) -> list[tuple[int, int]]:
    """Ranges (first, after the last) that cover all numbers, each with at most `most` rows, or with one number only.

    Args:
        rows: how many rows each number has, [n].
        most: rows of a portion; more, where there would be more than MOST_BUCKETS.
    """
    ends = np.cumsum(rows)
    if len(ends):  # two neighbours together have more than `most`: there are less than twice as many as it fits in
        most = max(most, -(-int(ends[-1]) // (MOST_BUCKETS // 2)))
    found, first, before = [], 0, 0
    while first < len(ends):
        after = max(first + 1, int(np.searchsorted(ends, before + most, side="right")))
        found.append((first, after))
        first, before = after, int(ends[after - 1])
    return found


def runs(ordered: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of equal numbers that stand together: first places, and places after the last, [runs] each."""
    if not len(ordered):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, len(ordered))
    return np.concatenate([[0], ends[:-1]]), ends
