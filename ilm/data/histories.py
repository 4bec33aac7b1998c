"""The rows that count -> the table SEQUENCES: one ordered history per user, written some users at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.data.batches import ROWS
from ilm.data.buckets import Buckets, portions
from ilm.data.coded_log import CodedLog
from ilm.data.cut import last_two
from ilm.data.schema import PART, SEQUENCES, table_writer
from ilm.data.split import Kept, moments
from ilm.data.stable_hash import combine, hash_texts
from ilm.files import scratch
from ilm.params import SplitParams


@dataclass(frozen=True)
class Written:
    """What was written."""

    rows: int
    parts: dict[str, int]
    """Rows of each part."""
    tied: int
    """Rows that share their moment with another row of the same user: there the order is arbitrary."""
    fitted_until: datetime | None
    """The moment (UTC) of the latest train row: what comes after it, no model of this split has learned from. None
    where a train row has an order only, so that nobody can tell."""


def write_histories(
    log: CodedLog,
    kept: Kept,
    user_ids: pl.DataFrame,
    item_ids: pl.DataFrame,
    params: SplitParams,
    path: Path,
    at_once: int = ROWS,
) -> Written:
    """Write SEQUENCES: indexes instead of ids, positions within each user, oldest first.

    Sorting takes several times the memory of what is sorted; so rows are dealt out to files by user first, and each
    file is sorted by itself.

    Args:
        log: all rows.
        kept: which of them count.
        user_ids: map that covers all users of these.
        item_ids: map that covers all items of these.
        params: section `split`.
        path: the file.
        at_once: rows that are sorted at a time.
    """
    of_parts, ties, latest, untold = np.zeros(len(PART.categories), dtype=np.int64), 0, None, 0
    with scratch(path) as folder, table_writer(path, SEQUENCES) as write:
        for rows in _by_users(log, kept, user_ids, item_ids, at_once, folder):
            ordered = rows.sort(["user_index", *moments(rows, params), "tie", "item_index"], nulls_last=True)
            part = kept.cut.parts(ordered["timestamp"]) if kept.cut else last_two(ordered["user_index"])
            position = pl.int_range(pl.len(), dtype=pl.Int32).over("user_index")
            write(ordered.select("user_index", "item_index", position=position, part=part))
            of_parts += np.bincount(part.to_physical(), minlength=len(of_parts))
            ties += tied(ordered, params)
            times = ordered.filter(part == "train")["timestamp"]
            untold += times.null_count()
            latest = max((moment for moment in (latest, times.max()) if isinstance(moment, datetime)), default=None)
    named = {part: int(count) for part, count in zip(PART.categories, of_parts, strict=True) if count}
    return Written(int(of_parts.sum()), named, ties, None if untold else latest)


def tied(ordered: pl.DataFrame, params: SplitParams) -> int:
    """Rows in the order of user_index and `moments` that share their moment with another row of the same user."""
    as_before = [pl.col(name).eq_missing(pl.col(name).shift(1)) for name in ("user_index", *moments(ordered, params))]
    same = ordered.select(same=pl.all_horizontal(as_before) & (pl.int_range(pl.len()) > 0))["same"]
    return int((same | same.shift(-1, fill_value=False)).sum())


def _by_users(
    log: CodedLog, kept: Kept, user_ids: pl.DataFrame, item_ids: pl.DataFrame, at_once: int, folder: Path
) -> Iterator[pl.DataFrame]:
    """What counts, by whole users in the order of their indexes: user_index, item_index, timestamp, order, tie."""
    users, items = _Numbers.of(log.users, user_ids), _Numbers.of(log.items, item_ids)
    counting, rows_of_index = kept.user_rows > 0, np.zeros(len(user_ids), dtype=np.int64)
    rows_of_index[users.indexes[counting]] = kept.user_rows[counting]
    starts = [first for first, _ in portions(rows_of_index, at_once)]
    buckets = Buckets(folder)
    for rows in map(kept.of, log.batches("user", "item", "timestamp", "order")):
        user, item = (rows[name].to_numpy() for name in ("user", "item"))
        index, tie = users.indexes[user], combine(users.hashes[user], items.hashes[item])
        indexed = rows.select("timestamp", "order", user_index=index, item_index=items.indexes[item], tie=tie)
        buckets.add(indexed, np.searchsorted(starts, index, side="right") - 1)
    for bucket in range(len(starts)):
        yield from buckets.take(bucket)


@dataclass(frozen=True)
class _Numbers:
    """Of distinct ids."""

    indexes: NDArray[np.int32]
    """[n]: by the id map; -1 where it has none."""
    hashes: NDArray[np.uint64]
    """[n]"""

    @classmethod
    def of(cls, distinct: pl.Series, ids: pl.DataFrame) -> "_Numbers":
        index, name = ids.columns
        found = distinct.rename(name).to_frame().join(ids, on=name, how="left", maintain_order="left")[index]
        return cls(found.fill_null(-1).to_numpy(), hash_texts(distinct.to_list()))
