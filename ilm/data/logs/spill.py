"""Good rows of the files that are read now, sorted and set down in runs, so that they can be taken up by event date.

The first half of an external merge sort: memory holds one run at a time, however many rows there are.
"""

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from ilm.data.logs.ordering import FIRST

RUN_ROWS = 1 << 20
BATCH_ROWS = 1 << 14
"""What is read of a run is a whole number of batches."""


@dataclass(frozen=True)
class _Run:
    path: Path
    places: dict[date, tuple[int, int]]
    """Event date -> first row and number of rows; dates in order."""


class Spill:
    """Rows of one file are added, then kept or dropped together. `folder` is there and empty; the caller removes it.

    `pool` has one thread: a run is set down while the next rows are read.
    """

    def __init__(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        self._folder, self._pool = folder, pool
        self._runs: list[Future[_Run]] = []
        self._waiting: list[pl.DataFrame] = []
        self._new_runs: list[Future[_Run]] = []
        self._new: list[pl.DataFrame] = []
        self._written = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Take LOG_COLUMNS of a part of the file that is being read."""
        self._new.append(rows)
        if sum(map(len, self._new)) >= RUN_ROWS:
            self._new_runs.append(self._set_down(self._new))
            self._new = []

    def drop(self) -> None:
        """The file cannot be used after all."""
        for run in self._new_runs:
            run.result().path.unlink()
        self._new_runs, self._new = [], []

    def keep(self) -> None:
        """The file is complete: its rows count."""
        self._runs += self._new_runs
        self._waiting += self._new
        self._new_runs, self._new = [], []
        if sum(map(len, self._waiting)) >= RUN_ROWS:
            self._set_down_waiting()

    def rows_by_date(self) -> dict[date, int]:
        """Event date -> rows that were kept, dates in order."""
        self._set_down_waiting()
        counts: Counter[date] = Counter()
        for run in self._runs:
            counts.update({day: rows for day, (_, rows) in run.result().places.items()})
        return dict(sorted(counts.items()))

    def take(self, first: date, last: date) -> list[pl.DataFrame]:
        """The rows of these dates, in no definite order."""
        found = []
        for run in (run.result() for run in self._runs):
            places = [place for day, place in run.places.items() if first <= day <= last]
            if places:
                start, rows = places[0][0], sum(rows for _, rows in places)
                found.append(_rows(run.path, start, rows))
        return found

    def _set_down_waiting(self) -> None:
        if sum(map(len, self._waiting)):
            self._runs.append(self._set_down(self._waiting))
        self._waiting = []

    def _set_down(self, parts: list[pl.DataFrame]) -> "Future[_Run]":
        for run in [*self._runs, *self._new_runs][-1:]:  # more than one on its way would fill memory
            run.result()
        self._written += 1
        return self._pool.submit(_written, parts, self._folder / f"{self._written}.arrow")


def _written(parts: list[pl.DataFrame], path: Path) -> _Run:
    rows = pl.concat(parts).sort(FIRST)
    rows.write_ipc(path, record_batch_size=BATCH_ROWS)
    lengths = rows.select(pl.col("timestamp").dt.date().rle()).unnest("timestamp")
    starts = (lengths["len"].cum_sum() - lengths["len"]).to_list()
    return _Run(path, dict(zip(lengths["value"], zip(starts, lengths["len"], strict=True), strict=True)))


def _rows(path: Path, start: int, rows: int) -> pl.DataFrame:
    """Some rows of a run, mapped and not copied."""
    import pyarrow

    with pyarrow.memory_map(str(path)) as mapped:
        run = pyarrow.ipc.open_file(mapped)
        batches = [run.get_batch(n) for n in range(start // BATCH_ROWS, (start + rows - 1) // BATCH_ROWS + 1)]
        wanted = pyarrow.Table.from_batches(batches).slice(start % BATCH_ROWS, rows)
        frame: Any = pl.from_arrow(wanted)
    return frame  # type: ignore[no-any-return]
