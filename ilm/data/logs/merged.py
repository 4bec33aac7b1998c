"""The source's interactions and the log store's events as one table, oldest first, and the events that must wait.

An event whose item the catalogue does not know is kept aside. Of events that are told twice in different words (same
event_id; or same user, item, time and type) the first in the order of CONTENT counts, whichever file it came in.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.data.logs.ordering import in_order, tied_rows
from ilm.data.logs.store import Store
from ilm.data.logs.update import chunks
from ilm.data.rules import INTERACTION_RULES
from ilm.data.schema import INTERACTIONS, table_writer, write_table
from ilm.errors import DataError

_DUPLICATE = next(rule for rule in INTERACTION_RULES if rule.name == "duplicate_event")
BY_USER = ["user_id", "item_id", "timestamp", "order", "event_type", "rating", "event_id"]
_FEW_VALUES = ["item_id", "event_type", "rating"]
"""Columns of few different values, worth a dictionary in the file."""


@dataclass(frozen=True)
class Merged:
    """How many rows of the source and of the store came where."""

    accepted: int
    kept_aside: int
    duplicates: int
    """Distinct rows that tell of an event which another row tells, too."""


def merged_rows(
    base: pl.DataFrame, store: Store, catalogue: pl.Series
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame, int]]:
    """Chunks of accepted rows, kept-aside rows (both INTERACTIONS, oldest first) and the number of duplicates.

    Args:
        base: interactions of the source, sorted by CONTENT, without duplicates.
        store: the log store.
        catalogue: ids of the known items.

    Raises:
        DataError: there are log events, but the source's interactions have no timestamps, or an order besides.
    """
    partitions = store.manifest.partitions
    if not partitions:
        yield base, base.clear(), 0
        return
    _check_moments(base)
    known = catalogue.unique().implode()
    of_days: dict[date, int] = {day: rows for rows, day in base["timestamp"].dt.date().rle().struct.unnest().rows()}
    in_logs = {day: partition.rows for day, partition in partitions.items()}
    weights = {day: of_days.get(day, 0) + in_logs.get(day, 0) for day in sorted(of_days.keys() | in_logs.keys())}
    parts = [(days, sum(of_days.get(day, 0) for day in days)) for days in chunks(weights)]
    scattered = _scattered_event_ids(base, store, parts)
    seen = pl.Series(dtype=pl.String)
    start = 0
    for days, rows_of_base in parts:
        of_base = base.slice(start, rows_of_base)
        start += rows_of_base
        events = store.events(days).with_columns(order=pl.lit(None, pl.Int64)).select(list(INTERACTIONS))
        is_known = events.select(pl.col("item_id").is_in(known)).to_series()
        waiting = events.filter(~is_known)
        rows = events.filter(is_known) if len(waiting) else events
        if len(of_base):
            rows = in_order(pl.concat([of_base, rows])) if len(rows) else of_base
        good, seen = _without_duplicates(rows, scattered, seen)
        yield good, waiting, len(rows) - len(good)


def write_merged(base: pl.DataFrame, store: Store, catalogue: pl.Series, accepted: Path, kept_aside: Path) -> Merged:
    """Write both tables, each whole or not at all. Equal rows give equal bytes, however they are spread over files.

    Oldest first; without any log event sorted BY_USER, which is also how versions without log files wrote the table,
    so that DVC finds it unchanged.

    Args:
        base: as in `merged_rows`.
        store: as there.
        catalogue: as there.
        accepted: file of the merged interactions.
        kept_aside: file of the events that wait for their items.

    Raises:
        DataError: as there.
    """
    if not store.manifest.partitions:  # nothing to stream: one table, sorted by user
        write_table(base.sort(BY_USER, nulls_last=True), accepted)
        write_table(base.clear(), kept_aside)
        return Merged(len(base), 0, 0)
    counts = [0, 0, 0]
    with (
        table_writer(accepted, INTERACTIONS, _FEW_VALUES) as write_accepted,
        table_writer(kept_aside, INTERACTIONS, _FEW_VALUES) as write_kept_aside,
        ThreadPoolExecutor(1) as writer,
    ):
        written: list[Future[int]] = []
        for good, waiting, duplicates in merged_rows(base, store, catalogue):
            for done in written:  # the next chunk is read while the last one is written; more would fill memory
                done.result()
            written = [writer.submit(write_accepted, good), writer.submit(write_kept_aside, waiting)]
            counts = [a + b for a, b in zip(counts, (len(good), len(waiting), duplicates), strict=True)]
        for done in written:
            done.result()
    return Merged(*counts)


def _check_moments(base: pl.DataFrame) -> None:
    if base["order"].count() or base["timestamp"].null_count():
        what = "a column order" if base["order"].count() else "rows without a timestamp"
        raise DataError(
            f"data.logs has log files, but the interactions of the source have {what}: log files say only when "
            "something happened, so there would be no common order. Give the source timestamps and no order "
            "(data.interaction_columns), or take the log files away."
        )


def _scattered_event_ids(base: pl.DataFrame, store: Store, parts: list[tuple[list[date], int]]) -> pl.Series:
    """Hashes of event ids that stand in more than one chunk; 8 bytes per event id while they are searched.

    Args:
        base: as in `merged_rows`.
        store: as there.
        parts: per chunk the dates, and the rows of `base`.
    """
    if not any(partition.event_ids for partition in store.manifest.partitions.values()):
        return pl.Series(dtype=pl.UInt64)
    hashes, start = [], 0
    for days, rows in parts:
        ids = pl.concat([base["event_id"].slice(start, rows), store.event_ids(days)])
        hashes.append(ids.drop_nulls().hash().unique().to_numpy())
        start += rows
    return _repeated(np.concatenate(hashes))


def _without_duplicates(rows: pl.DataFrame, scattered: pl.Series, seen: pl.Series) -> tuple[pl.DataFrame, pl.Series]:
    """Only the first row of every event.

    Args:
        rows: sorted by CONTENT.
        scattered: hashes of the event ids that stand in other chunks, too.
        seen: those of earlier chunks.

    Returns:
        The rows, and `seen` with those of these rows.
    """
    suspect, ids = tied_rows(rows), rows["event_id"]
    there, hashes = ids.is_not_null(), ids.hash()
    to_look_at = pl.concat([scattered, _repeated(hashes.filter(there).to_numpy())])
    if len(to_look_at):
        suspect |= there & hashes.is_in(to_look_at.implode())
    if not suspect.any():
        return rows, seen
    suspects = rows.filter(suspect)
    again = pl.col("event_id").is_in(seen.implode()).fill_null(False)
    gone = suspects.select(_DUPLICATE.broken | again).to_series()
    keep = np.ones(len(rows), dtype=bool)
    keep[suspect.arg_true().filter(gone).to_numpy()] = False
    elsewhere = ids.filter(there & hashes.is_in(scattered.implode())).unique()
    return rows.filter(pl.Series(keep)), pl.concat([seen, elsewhere])


def _repeated(hashes: NDArray[np.uint64]) -> pl.Series:
    """Those that stand there more than once."""
    ordered = np.sort(hashes)
    return pl.Series(np.unique(ordered[1:][ordered[1:] == ordered[:-1]]), dtype=pl.UInt64)
