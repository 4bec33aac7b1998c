"""Items without a title: named by their id, where the user prefers that to setting them aside.

Benchmarks do so to keep the item counts that were published. Systems that read text gain nothing from such a name.
"""

import polars as pl

from ilm.data.raw import ROW, RawTable
from ilm.data.readings import given, read_ids

NAME = "Untitled item {}"


def name_untitled(items: RawTable) -> RawTable:
    """The table with a name in place of every missing or blank title."""
    ids, column = items.column("item_id"), items.columns.get("title", "title")
    if ids is None:
        return items
    names = pl.select(pl.format(NAME, read_ids(ids, items.where("item_id")))).to_series()
    titles = items.column("title")
    if titles is not None:
        names = titles.zip_with(given(titles), names) if titles.dtype == pl.String else titles
    return RawTable(items.name, items.rows.with_columns(names.alias(column)), items.columns, items.setting)


def items_of(interactions: RawTable) -> RawTable:
    """An items table of what is only known from interactions: ids, no titles. Rows are the first ones with each id."""
    name = interactions.columns.get("item_id", "item_id")
    columns = {"item_id": name} if name != "item_id" else {}
    if name not in interactions.names():
        return RawTable(interactions.name, interactions.rows.select(ROW), columns, interactions.setting)
    rows = interactions.rows.select(ROW, name).unique(name, keep="first", maintain_order=True)
    return RawTable(interactions.name, rows, columns, interactions.setting)


def is_titled(catalogue: pl.DataFrame) -> pl.Series:
    """Whether each item of a catalogue has a title of its own."""
    return catalogue.select(pl.col("title") != pl.format(NAME, "item_id")).to_series()
