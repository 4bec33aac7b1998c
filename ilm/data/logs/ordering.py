"""The one order of interactions (`ilm.data.rules.CONTENT`), and what stands twice, without sorting by every column."""

import numpy as np
import polars as pl

from ilm.data.rules import CONTENT

FIRST = ["timestamp", "user_id", "item_id"]
"""Decide the order of nearly all rows; never null."""


def in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Sort by CONTENT (the columns of it that are there), nulls last."""
    rows = rows.sort(FIRST, maintain_order=True)  # a stable sort only merges where runs are sorted
    tied = tied_rows(rows)
    if not tied.any():
        return rows
    places = tied.arg_true()
    among = rows.filter(tied).with_columns(place=places).sort(
        [name for name in CONTENT if name in rows.columns], nulls_last=True
    )  # fmt: skip
    order = np.arange(len(rows), dtype=np.uint32)
    order[places.to_numpy()] = among["place"].to_numpy()
    return rows[pl.Series(order)]


def tied_rows(rows: pl.DataFrame) -> pl.Series:
    """Whether each of the sorted rows shares user, item and timestamp with the row before or after it."""
    same = rows.select(pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in FIRST).alias("same"))["same"]
    if len(same):
        same[0] = False
    return same | same.shift(-1, fill_value=False)


def distinct(rows: pl.DataFrame) -> pl.DataFrame:
    """Without rows that equal another one in every column.

    Args:
        rows: of `in_order`.
    """
    tied = tied_rows(rows)
    if not tied.any():
        return rows
    repeated = rows.filter(tied).select(~pl.struct(pl.all()).is_first_distinct()).to_series()
    gone = tied.arg_true().filter(repeated)
    keep = np.ones(len(rows), dtype=bool)
    keep[gone.to_numpy()] = False
    return rows.filter(pl.Series(keep))
