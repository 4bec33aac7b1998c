"""Raw tables -> clean interactions and items, and a quarantine of the rows that cannot be used.

The result does not depend on the order of rows in the files.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

import polars as pl

from ilm.data.raw import ROW, RawTable, Source
from ilm.data.readings import given, read_ids, read_orders, read_ratings, read_text, read_timestamps
from ilm.data.rules import CONTENT, INTERACTION_RULES, ITEM_RULES, check_share, set_aside
from ilm.data.schema import CATALOGUE, INTERACTIONS, ITEMS, QUARANTINE
from ilm.errors import DataError


@dataclass(frozen=True)
class Ingested:
    """The three tables of step `ingest` (see `ilm.data.schema`), and what the user should know about them."""

    interactions: pl.DataFrame
    items: pl.DataFrame
    quarantine: pl.DataFrame
    notes: list[str]


def ingest(source: Source, max_quarantine_fraction: float) -> Ingested:
    """Read every column as its type, set bad rows aside by the rules of `ilm.data.rules`, sort.

    Args:
        source: from `ilm.data.source.load`.
        max_quarantine_fraction: share of the rows of either table that may be set aside.

    Raises:
        DataError: a whole column is unreadable, an item has two different rows, too many rows were set aside, or none
            is left.
    """
    items, notes = _typed_items(source.items)
    _check_conflicts(source.items, items)
    good_items, items_aside = set_aside(items.sort("item_id", ROW), ITEM_RULES)
    _check_rows("items", source.items, good_items, items_aside, max_quarantine_fraction)

    gone = items.filter(pl.col(ROW).is_in(items_aside[ROW].implode())).join(good_items, on="item_id", how="anti")
    interactions = _typed_interactions(source.interactions).with_columns(
        item_set_aside=pl.col("item_id").is_in(gone["item_id"].drop_nulls().unique().implode())
    )
    good, aside = set_aside(interactions.sort(*CONTENT, ROW, nulls_last=True), INTERACTION_RULES)
    _check_rows("interactions", source.interactions, good, aside, max_quarantine_fraction)

    quarantine = pl.concat(
        [_quarantine("interactions", source.interactions, aside), _quarantine("items", source.items, items_aside)]
    )
    return Ingested(good.select(list(INTERACTIONS)), good_items.drop(ROW), quarantine, notes)


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


def _typed_items(table: RawTable) -> tuple[pl.DataFrame, list[str]]:
    """item_id, title and the text columns by name; and a note on columns that are no text."""
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


def _check_conflicts(table: RawTable, items: pl.DataFrame) -> None:
    """An item that is described in two ways: which one holds cannot be guessed."""
    usable = items.filter(pl.col("item_id").is_not_null() & pl.col("title").is_not_null())
    contents = usable.unique(pl.exclude(ROW), keep="first", maintain_order=True).sort("item_id", ROW)
    conflicting = contents.filter(pl.col("item_id").is_duplicated())
    if conflicting.is_empty():
        return
    first = conflicting.filter(pl.col("item_id") == conflicting["item_id"][0])
    different = [name for name in first.columns if name != ROW and first[name].n_unique() > 1]
    raise DataError(
        f"{table.name}: {conflicting['item_id'].n_unique():,} items stand there more than once with different content "
        f"(first: item_id {first['item_id'][0]}, rows {first[ROW][0]:,} and {first[ROW][1]:,} differ in "
        f"{', '.join(different)}). Keep one row per item."
    )


def _check_rows(kind: str, table: RawTable, good: pl.DataFrame, aside: pl.DataFrame, limit: float) -> None:
    check_share(f"{table.name} ({kind})", aside, len(table.rows), limit)
    if good.is_empty():
        raise DataError(f"{table.name} ({kind}): none of {len(table.rows):,} rows can be used. Mend the file.")


def _quarantine(kind: str, table: RawTable, aside: pl.DataFrame) -> pl.DataFrame:
    rows = table.rows.filter(pl.col(ROW).is_in(aside[ROW].implode()))
    records = [_as_json({name: row[name] for name in table.names()}) for row in rows.iter_rows(named=True)]
    found = rows.select(ROW, record=pl.Series(records, dtype=pl.String)).join(aside, on=ROW).sort(ROW)
    named = found.with_columns(table=pl.lit(kind), source=pl.lit(table.name), row=pl.col(ROW).cast(pl.Int64))
    return named.select(list(QUARANTINE))


def _as_json(record: dict[str, Any]) -> str:
    """JSON of a raw row; what JSON cannot express (dates, bytes, NaN) as text."""
    plain = {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(plain, ensure_ascii=False, default=str)
