"""The merged log with numbers for ids: in memory, or as a file that is gone through a batch of rows at a time.

A text of an id takes 16 bytes or more in every row and every copy, its number among the sorted ids takes 4, and sorts
alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.data.batches import ROWS, Batches
from ilm.data.schema import INTERACTIONS, reading, scan_table

_IDS = ("user_id", "item_id")
_AT_ONCE = 10 * ROWS


@dataclass(frozen=True)
class Counts:
    """Sizes of a table of interactions, for logs."""

    users: int
    items: int
    interactions: int


@dataclass(frozen=True)
class CodedLog:
    """Who, what and when."""

    users: pl.Series
    """[n_users]: distinct ids, sorted."""
    items: pl.Series
    """[n_items]: distinct ids, sorted."""
    _rows: pl.DataFrame | Path
    """`user` and `item` (places in the two above), `timestamp`, `order`; as a frame, or as a Parquet file."""

    @classmethod
    def of(cls, interactions: pl.DataFrame) -> "CodedLog":
        """Of a table that is in memory: user_id, item_id, timestamp, order."""
        (users, user), (items, item) = (numbered(interactions[name]) for name in _IDS)
        return cls(users, items, interactions.select("timestamp", "order", user=user, item=item))

    def batches(self, *columns: str) -> Iterator[pl.DataFrame]:
        """All rows, in any order, some at a time: these columns of `user`, `item`, `timestamp` and `order`."""
        if isinstance(self._rows, pl.DataFrame):
            yield self._rows.select(columns)
        else:
            yield from Batches(self._rows, columns)


def count(interactions: pl.DataFrame) -> Counts:
    """Distinct users, distinct items, rows."""
    return Counts(interactions["user_id"].n_unique(), interactions["item_id"].n_unique(), len(interactions))


def code_log(path: Path, items: pl.DataFrame, folder: Path) -> tuple[CodedLog, Counts]:
    """The rows whose item has a text, set down in `folder`, and the sizes of the whole log.

    Memory holds the distinct ids and some batches of rows.

    Args:
        path: table INTERACTIONS.
        items: table ITEMS. The gate may tolerate other items, but no text-based system can use them.
        folder: is there, and outlives the use of the log.

    Raises:
        ArtifactError: missing or damaged, or other columns or types.
    """
    log, file = scan_table(path, INTERACTIONS), folder / "log.parquet"
    known = pl.col("item_id").is_in(items["item_id"].implode())
    with reading(path):
        users, items_ = (distinct(log.select(name, known=known)) for name in _IDS)
        sizes = Counts(users["user_id"].n_unique(), len(items_), log.select(pl.len()).collect().item())
        user, item = (pl.Enum(ids.filter("known").to_series().sort()) for ids in (users, items_))
        rows = log.select(  # not strict: an item without a text is not among these, and becomes null
            pl.col("user_id").cast(user, strict=False).to_physical().alias("user"),
            pl.col("item_id").cast(item, strict=False).to_physical().alias("item"),
            "timestamp",
            "order",
        ).filter(pl.col("item").is_not_null())
        rows.sink_parquet(file, compression="uncompressed", row_group_size=ROWS, engine="streaming")
    return CodedLog(user.categories, item.categories, file), sizes


def numbered(ids: pl.Series) -> tuple[pl.Series, NDArray[np.unsignedinteger]]:
    """Ids -> the distinct ones, sorted, and the place of each id among them, [rows]."""
    kind = pl.Enum(ids.unique().sort())
    places: NDArray[np.unsignedinteger] = np.asarray(ids.cast(kind).to_physical())
    return kind.categories, places


def distinct(rows: pl.LazyFrame) -> pl.DataFrame:
    """The distinct rows, looked for among some at a time: among all, Polars takes 15 to 30 bytes for every row."""
    found = rows.clear().collect()
    for first in range(0, rows.select(pl.len()).collect().item(), _AT_ONCE):
        some = rows.slice(first, _AT_ONCE).unique().collect(engine="streaming")
        found = pl.concat([found, some]).unique()
    return found
