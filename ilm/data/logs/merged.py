"""The source's interactions and the log store's events as one table, oldest first, and the events that must wait.

An event whose item the catalogue does not know is kept aside. Of events that are told twice in different words (same
event_id; or same user, item, time and type) the first in the order of CONTENT counts, whichever file it came in.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from ilm.data.logs.ordering import in_order, tied_rows
from ilm.data.logs.store import Store
from ilm.data.logs.update import chunks
from ilm.data.rules import INTERACTION_RULES
from ilm.data.schema import INTERACTIONS
from ilm.errors import DataError
from ilm.files import replaced

_DUPLICATE = next(rule for rule in INTERACTION_RULES if rule.name == "duplicate_event")
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
    repeated = _repeated_event_ids(base, store)
    of_days: dict[date, int] = {day: rows for rows, day in base["timestamp"].dt.date().rle().struct.unnest().rows()}
    in_logs = {day: partition.rows for day, partition in partitions.items()}
    weights = {day: of_days.get(day, 0) + in_logs.get(day, 0) for day in sorted(of_days.keys() | in_logs.keys())}
    seen: set[str] = set()
    start = 0
    for days in chunks(weights):
        end = start + sum(of_days.get(day, 0) for day in days)
        of_base = base.slice(start, end - start)
        events = store.events(days).with_columns(order=pl.lit(None, pl.Int64)).select(list(INTERACTIONS))
        is_known = events.select(pl.col("item_id").is_in(known)).to_series()
        waiting = events.filter(~is_known)
        rows = events.filter(is_known) if len(waiting) else events
        if len(of_base):
            rows = in_order(pl.concat([of_base, rows])) if len(rows) else of_base
        good = _without_duplicates(rows, repeated, seen)
        yield good, waiting, len(rows) - len(good)
        start = end


def write_merged(base: pl.DataFrame, store: Store, catalogue: pl.Series, accepted: Path, kept_aside: Path) -> Merged:
    """Write both tables, each whole or not at all. Equal rows give equal bytes, however they are spread over files.

    Args:
        base: as in `merged_rows`.
        store: as there.
        catalogue: as there.
        accepted: file of the merged interactions.
        kept_aside: file of the events that wait for their items.

    Raises:
        DataError: as there.
    """
    counts = [0, 0, 0]
    with (
        _writing(accepted) as write_accepted,
        _writing(kept_aside) as write_kept_aside,
        ThreadPoolExecutor(1) as writer,
    ):
        written: list[Future[None]] = []
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


def _repeated_event_ids(base: pl.DataFrame, store: Store) -> pl.Series:
    """Hashes of event ids that occur more than once; 8 bytes per event id while they are searched."""
    with_ids = {day: part.event_ids for day, part in store.manifest.partitions.items() if part.event_ids}
    parts = [base["event_id"].drop_nulls().hash().to_numpy()]
    parts += [store.events(days)["event_id"].drop_nulls().hash().to_numpy() for days in chunks(with_ids)]
    hashes = np.concatenate(parts)
    hashes.sort()
    return pl.Series(np.unique(hashes[1:][hashes[1:] == hashes[:-1]]), dtype=pl.UInt64)


def _without_duplicates(rows: pl.DataFrame, repeated: pl.Series, seen: set[str]) -> pl.DataFrame:
    """Only the first row of every event.

    Args:
        rows: sorted by CONTENT.
        repeated: hashes of all event ids that need a look.
        seen: such event ids of earlier rows; those of these rows are added.
    """
    suspect = tied_rows(rows)
    if len(repeated):
        ids = rows["event_id"]
        suspect |= ids.is_not_null() & ids.hash().is_in(repeated.implode())
    if not suspect.any():
        return rows
    suspects = rows.filter(suspect)
    again = pl.col("event_id").is_in(list(seen)).fill_null(False) if seen else pl.lit(False)
    gone = suspects.select(_DUPLICATE.broken | again).to_series()
    seen.update(suspects["event_id"].drop_nulls())
    keep = np.ones(len(rows), dtype=bool)
    keep[suspect.arg_true().filter(gone).to_numpy()] = False
    return rows.filter(pl.Series(keep))


@contextmanager
def _writing(path: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    """A Parquet file of INTERACTIONS, written chunk by chunk, whole or not at all."""
    import pyarrow.parquet as pq

    oldest = pl.CompatLevel.oldest()
    schema = pl.DataFrame(schema=dict(INTERACTIONS)).to_arrow(compat_level=oldest).schema
    with (
        replaced(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", use_dictionary=_FEW_VALUES) as writer,
    ):
        yield lambda rows: writer.write_table(rows.to_arrow(compat_level=oldest)) if len(rows) else None
