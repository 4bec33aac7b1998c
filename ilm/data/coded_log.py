"""The merged log with numbers for ids: whole, or what step `split` wants of it: who, what and when.

A text of an id takes 16 bytes or more in every row and every copy, its number among the sorted ids takes 4; polars'
Enum shows the number as the text that it stands for, and sorts alike.
"""

from pathlib import Path

import polars as pl

from ilm.data.schema import INTERACTIONS, scan_table
from ilm.data.split import Counts

_COLUMNS = ("user_id", "item_id", "timestamp", "order")


def read_log(path: Path) -> pl.DataFrame:
    """The table INTERACTIONS, with ids and event types as Enum; `event_id`, which nothing repeats, stays a text.

    Raises:
        ArtifactError: missing or damaged, or other columns or types.
    """
    log = scan_table(path, INTERACTIONS)
    coded = [pl.col(name).cast(_codes(log, name)) for name in ("user_id", "item_id", "event_type")]
    return log.with_columns(coded).collect(engine="streaming")


def read_coded(path: Path, items: pl.DataFrame) -> tuple[pl.DataFrame, Counts]:
    """The rows whose item has a text, and the sizes of the whole log.

    Args:
        path: table INTERACTIONS.
        items: table ITEMS. The gate may tolerate other items, but no text-based system can use them.

    Raises:
        ArtifactError: missing or damaged, or other columns or types.
    """
    log = scan_table(path, INTERACTIONS)
    sizes = log.select(
        users=pl.col("user_id").n_unique(), items=pl.col("item_id").n_unique(), interactions=pl.len()
    ).collect(engine="streaming")
    known = log.join(items.lazy().select("item_id"), on="item_id", how="semi")
    codes = {name: _codes(known, name) for name in ("user_id", "item_id")}
    coded = log.select(_COLUMNS).with_columns(pl.col(name).cast(kind, strict=False) for name, kind in codes.items())
    rows = coded.filter(pl.col("item_id").is_not_null()).collect(engine="streaming")
    return rows, Counts(*sizes.row(0))


def _codes(log: pl.LazyFrame, name: str) -> pl.Enum:
    return pl.Enum(log.select(pl.col(name).drop_nulls().unique()).collect(engine="streaming").to_series().sort())
