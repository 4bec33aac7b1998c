"""The rows that count -> the table SEQUENCES: one ordered history per user, written for some users at a time.

Sorting takes several times the memory of what is sorted; so, only a portion of the users is sorted at once.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.data.portions import ROWS, portions
from ilm.data.schema import PART, SEQUENCES, scan_table, table_writer
from ilm.data.split import codes, ordered_parts, tied
from ilm.data.stable_hash import combine, hash_texts
from ilm.params import SplitParams


@dataclass(frozen=True)
class Histories:
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
    rows: pl.DataFrame,
    user_ids: pl.DataFrame,
    item_ids: pl.DataFrame,
    params: SplitParams,
    path: Path,
    at_once: int = ROWS,
) -> Histories:
    """Write SEQUENCES: indexes instead of ids, positions within each user, oldest first.

    Args:
        rows: of `what_counts`, with ids of type Enum.
        user_ids: map that covers all users.
        item_ids: map that covers all items.
        params: section `split`.
        path: the file.
        at_once: rows that are sorted at a time.
    """
    users, items = (_Numbers.of(rows[name], ids) for name, ids in (("user_id", user_ids), ("item_id", item_ids)))
    user_index = users.indexes[codes(rows["user_id"])]
    of_parts, ties, latest, untold = np.zeros(len(PART.categories), dtype=np.int64), 0, None, 0
    with table_writer(path, SEQUENCES) as write:
        for first, after in portions(np.bincount(user_index), at_once):
            some = rows.filter(pl.Series((user_index >= first) & (user_index < after)))
            user, item = codes(some["user_id"]), codes(some["item_id"])
            some = some.with_columns(
                user_id=users.indexes[user],
                item_id=items.indexes[item],
                tie=combine(users.hashes[user], items.hashes[item]),
            )
            ordered = ordered_parts(some, params)
            position = pl.int_range(pl.len(), dtype=pl.Int32).over("user_id")
            write(ordered.select("part", user_index="user_id", position=position, item_index="item_id"))
            of_parts += np.bincount(ordered["part"].to_physical(), minlength=len(of_parts))
            ties += tied(ordered, params)
            times = ordered.filter(part="train")["timestamp"]
            untold += times.null_count()
            latest = max((moment for moment in (latest, times.max()) if isinstance(moment, datetime)), default=None)
    named = {part: int(count) for part, count in zip(PART.categories, of_parts, strict=True) if count}
    return Histories(len(rows), named, ties, None if untold else latest)


def read_histories(path: Path) -> pl.DataFrame:
    """The table SEQUENCES, sorted by user and position, with PART as the type of `part`.

    Raises:
        ArtifactError: as `read_table`.
    """
    rows = scan_table(path, SEQUENCES).with_columns(pl.col("part").cast(PART))
    return rows.collect(engine="streaming")


@dataclass(frozen=True)
class _Numbers:
    """Of the texts that an Enum can stand for, in its order."""

    indexes: NDArray[np.int32]
    """[n]: by the id map; -1 where it has none."""
    hashes: NDArray[np.uint64]
    """[n]"""

    @classmethod
    def of(cls, coded: pl.Series, ids: pl.DataFrame) -> "_Numbers":
        index, name = ids.columns
        texts = coded.dtype.categories.rename(name)  # type: ignore[attr-defined]
        found = texts.to_frame().join(ids, on=name, how="left", maintain_order="left")[index].fill_null(-1)
        return cls(found.to_numpy(), hash_texts(texts.to_list()))
