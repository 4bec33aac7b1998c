"""Raw tables -> clean interactions and items, and a quarantine of the rows that cannot be used.

The result does not depend on the order of rows in the files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from ilm.data.raw import ROW, RawTable, Source, as_json
from ilm.data.readings import given, read_ids, read_orders, read_ratings, read_text, read_timestamps
from ilm.data.rules import CONTENT, INTERACTION_RULES, ITEM_RULES, check_share, set_aside
from ilm.data.schema import CATALOGUE, INTERACTIONS, ITEMS, QUARANTINE
from ilm.errors import DataError

_ROWS_OF_A_TABLE = 2**32


@dataclass(frozen=True)
class Ingested:
    """The three tables of step `ingest` (see `ilm.data.schema`), and what the user should know about them."""

    interactions: pl.DataFrame
    items: pl.DataFrame
    quarantine: pl.DataFrame
    notes: list[str]


def ingest(source: Source, max_quarantine_fraction: float, more_items: Sequence[RawTable] = ()) -> Ingested:
    """Read every column as its type, set bad rows aside by the rules of `ilm.data.rules`, sort.

    Args:
        source: from `ilm.data.source.load`.
        max_quarantine_fraction: share of the rows of either table that may be set aside.
        more_items: items that came with the logs; ordered by name.

    Raises:
        DataError: a whole column is unreadable, an item has two different rows, too many rows were set aside, or none
            is left.
    """
    tables = [source.items, *more_items]
    items, notes = _typed_items(tables)
    _check_conflicts(tables, items)
    good_items, items_aside = set_aside(items.sort("item_id", ROW), ITEM_RULES)
    if good_items.is_empty():
        raise DataError(f"{source.items.name} (items): none of {len(items):,} rows can be used. Mend the file.")
    quarantine = []
    for number, table in enumerate(tables):
        aside = _of_table(items_aside, number)
        check_share(f"{table.name} (items)", aside, len(table.rows), max_quarantine_fraction)
        quarantine.append(_quarantine("items", table, aside))

    gone = items.filter(pl.col(ROW).is_in(items_aside[ROW].implode())).join(good_items, on="item_id", how="anti")
    good = pl.DataFrame(schema=dict(INTERACTIONS))
    if source.interactions is not None:
        good, aside = _ingest_interactions(source.interactions, gone["item_id"], max_quarantine_fraction)
        quarantine.insert(0, aside)
    return Ingested(good, good_items.drop(ROW), pl.concat(quarantine), notes)


def _ingest_interactions(
    table: RawTable, gone: pl.Series, max_quarantine_fraction: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The table INTERACTIONS, sorted by CONTENT, and the quarantine; `gone`: ids of items that were set aside."""
    interactions = _typed_interactions(table).with_columns(
        item_set_aside=pl.col("item_id").is_in(gone.drop_nulls().unique().implode())
    )
    good, aside = set_aside(interactions.sort(*CONTENT, ROW, nulls_last=True), INTERACTION_RULES)
    check_share(f"{table.name} (interactions)", aside, len(interactions), max_quarantine_fraction)
    if good.is_empty():
        raise DataError(f"{table.name} (interactions): none of {len(interactions):,} rows can be used. Mend the file.")
    return good.select(list(INTERACTIONS)), _quarantine("interactions", table, aside)


def _typed_interactions(table: RawTable) -> pl.DataFrame:
    """All columns of INTERACTIONS, and what the rules need to know about the raw values."""
    reader = {"timestamp": read_timestamps, "order": read_orders, "rating": read_ratings}
    columns: list[pl.Series | pl.Expr] = [table.rows[ROW]]
    for name, kind in INTERACTIONS.items():
        raw = table.column(name)
        if raw is None:
            columns += [pl.lit(None, dtype=kind).alias(name), pl.lit(False).alias(f"{name}_given")]
        else:
            typed = reader.get(name, read_ids)(raw, table.where(name))
            columns += [typed.rename(name), given(raw).rename(f"{name}_given")]
    ordered = table.column("order") is not None
    return table.rows.select(*columns, pl.lit(ordered).alias("ordered"))


def _typed_items(tables: Sequence[RawTable]) -> tuple[pl.DataFrame, list[str]]:
    """The rows of all tables with item_id, title and the text columns by name, told apart as `_of_table` does; and
    notes on columns that are no text."""
    parts, notes = [], []
    for number, table in enumerate(tables):
        part, note = _typed_item_table(table)
        parts.append(part.with_columns(pl.col(ROW).cast(pl.Int64) + number * _ROWS_OF_A_TABLE))
        notes += note
    items = pl.concat(parts, how="diagonal")
    return items.select(ROW, *ITEMS, *sorted(set(items.columns) - {ROW, *ITEMS})), notes


def _of_table(rows: pl.DataFrame, number: int) -> pl.DataFrame:
    """The rows of one of several tables, with their ROW as it is there."""
    own = rows.filter(pl.col(ROW) // _ROWS_OF_A_TABLE == number)
    return own.with_columns(pl.col(ROW) % _ROWS_OF_A_TABLE)


def _typed_item_table(table: RawTable) -> tuple[pl.DataFrame, list[str]]:
    texts = sorted({*table.unmapped(), *table.columns})
    reserved = sorted(set(texts) & (set(CATALOGUE) - set(ITEMS)))
    if reserved:
        raise DataError(
            f"{table.name}: the column name {reserved[0]} is needed by the pipeline itself. Rename the column, or map "
            f"it in params.yaml, for example {table.setting}: {{my_{reserved[0]}: {reserved[0]}}}."
        )
    columns, left_out = [], []
    for name in texts:
        raw = table.column(name)
        if raw is None:
            continue
        text = read_ids(raw, table.where(name)) if name == "item_id" else read_text(raw)
        if text is not None:
            columns.append(text.rename(name))
        elif name == "title":
            raise DataError(f"{table.where(name)}: titles must be text, not {raw.dtype}. Map another column to title.")
        else:
            left_out.append(name)
    note = f"{table.name}: left out, because nested or binary and so no text: {', '.join(left_out)}."
    frame = pl.DataFrame([table.rows[ROW], *columns])
    return frame.select(ROW, *ITEMS, pl.exclude(ROW, *ITEMS)), [note] if left_out else []


def _check_conflicts(tables: Sequence[RawTable], items: pl.DataFrame) -> None:
    """An item that is described in two ways: which one holds cannot be guessed."""
    usable = items.filter(pl.col("item_id").is_not_null() & pl.col("title").is_not_null())
    contents = usable.unique(pl.exclude(ROW), keep="first", maintain_order=True).sort("item_id", ROW)
    conflicting = contents.filter(pl.col("item_id").is_duplicated())
    if conflicting.is_empty():
        return
    first = conflicting.filter(pl.col("item_id") == conflicting["item_id"][0])
    different = [name for name in first.columns if name != ROW and first[name].n_unique() > 1]
    (table, row), (other, other_row) = (divmod(place, _ROWS_OF_A_TABLE) for place in first[ROW][:2])
    elsewhere = "" if table == other else f" of {tables[other].name}"
    raise DataError(
        f"{tables[table].name}: {conflicting['item_id'].n_unique():,} items stand there more than once with different "
        f"content (first: item_id {first['item_id'][0]}, rows {row:,} and {other_row:,}{elsewhere} differ in "
        f"{', '.join(different)}). Keep one row per item."
    )


def _quarantine(kind: str, table: RawTable, aside: pl.DataFrame) -> pl.DataFrame:
    aside = aside.with_columns(pl.col(ROW).cast(table.rows[ROW].dtype))
    rows = table.rows.filter(pl.col(ROW).is_in(aside[ROW].implode()))
    records = [as_json({name: row[name] for name in table.names()}) for row in rows.iter_rows(named=True)]
    found = rows.select(ROW, record=pl.Series(records, dtype=pl.String)).join(aside, on=ROW).sort(ROW)
    named = found.with_columns(table=pl.lit(kind), source=pl.lit(table.name), row=pl.col(ROW).cast(pl.Int64))
    return named.select(list(QUARANTINE))
