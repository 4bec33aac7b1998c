"""Amazon reviews and product metadata as the UCSD group gives them out (McAuley et al.), one record per line.

Editions are told apart by their field names. 2014: `reviews_Beauty_5.json.gz` with `meta_Beauty.json.gz`, whose lines
are Python literals, not JSON (read by ast.literal_eval, which runs nothing). 2018: much the same fields, in JSON. 2023:
`All_Beauty.jsonl.gz` with `meta_All_Beauty.jsonl.gz`. Reviews are read in batches; of the metadata only the lines of
reviewed items are parsed.
"""

import ast
import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from ilm.data.loaders.lines import LINE, collect, kept_where, scan_lines
from ilm.data.raw import ROW, RawTable, Source
from ilm.errors import DataError

NOTICE = "Amazon reviews (McAuley et al., UC San Diego): no licence text comes with them; for research. Cite them."

_FIELDS_2014 = {"user_id": "reviewerID", "item_id": "asin", "rating": "overall", "timestamp": "unixReviewTime"}
_FIELDS_2023 = {"user_id": "user_id", "item_id": "parent_asin", "rating": "rating", "timestamp": "timestamp"}
_ITEM_ID = r"""["'](?:parent_)?asin["']\s*:\s*["']([^"']+)["']"""
_SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_TEXTS = {
    "title": ("title",),
    "brand": ("brand", "store"),
    "categories": ("categories", "category"),
    "description": ("description",),
    "features": ("features", "feature"),
}
"""Our column -> the fields of the editions that may hold it."""


def find_amazon(folder: Path) -> tuple[Path, Path] | None:
    """The files of reviews and of metadata in a folder; None if they are not there.

    Raises:
        DataError: there are several of a kind.
    """
    if not folder.is_dir():
        return None
    files = sorted(file for file in folder.iterdir() if file.name.endswith(_SUFFIXES))
    metadata = [file for file in files if file.name.startswith("meta_")]
    reviews = [file for file in files if not file.name.startswith("meta_")]
    for kind, found in (("reviews", reviews), ("metadata", metadata)):
        if len(found) > 1:
            raise DataError(
                f"{folder}: several files of {kind} ({', '.join(file.name for file in found)}). Keep one category, in "
                "one form, per folder."
            )
    return (reviews[0], metadata[0]) if reviews and metadata else None


def amazon(folder: Path) -> Source:
    """Reviews and metadata of one category.

    Every reviewed item has a row; one that the metadata do not know has no title, and a row number beyond their end.

    Raises:
        DataError: files are missing, empty, damaged, or of another form.
    """
    found = find_amazon(folder)
    if found is None:
        raise DataError(
            f"{folder}: needs one file of reviews and one of metadata, such as reviews_Beauty_5.json.gz and "
            "meta_Beauty.json.gz (2014) or All_Beauty.jsonl.gz and meta_All_Beauty.jsonl.gz (2023)."
        )
    reviews, metadata = found
    interactions = _interactions(reviews)
    items = _items(metadata, interactions["item_id"].drop_nulls().unique().sort())
    return Source(RawTable(reviews.name, interactions), RawTable(metadata.name, items, {}, "data.item_columns"), NOTICE)


def _interactions(path: Path) -> pl.DataFrame:
    first = collect(scan_lines(path).head(100), path)[LINE]
    fields = _FIELDS_2023 if first.str.contains(f'"{_FIELDS_2023["item_id"]}"', literal=True).any() else _FIELDS_2014
    columns = [pl.col(LINE).str.json_path_match(f"$.{theirs}").alias(ours) for ours, theirs in fields.items()]
    broken = pl.any_horizontal(pl.col("user_id", "item_id").is_null())
    lines = scan_lines(path).with_columns(columns).select(ROW, *fields, kept_where(broken))
    rows = collect(lines, path)
    if rows["item_id"].count() == 0:
        raise DataError(
            f"{path}: no line has the fields {', '.join(_FIELDS_2014.values())} (edition of 2014) or "
            f"{', '.join(_FIELDS_2023.values())} (2023). Is it a file of reviews?"
        )
    return rows


def _items(path: Path, reviewed: pl.Series) -> pl.DataFrame:
    lines = scan_lines(path).with_columns(item_id=pl.col(LINE).str.extract(_ITEM_ID))
    wanted = pl.col("item_id").is_null() | pl.col("item_id").is_in(reviewed.implode())
    known = collect(lines.filter(wanted), path)
    rows = pl.DataFrame(list(_records(known)), schema={ROW: pl.UInt32, "item_id": pl.String, **_TEXT_TYPES})
    unknown = reviewed.filter(~reviewed.is_in(rows["item_id"].implode()))
    last = int(known[ROW].max() or 0)  # type: ignore[arg-type]
    without_row = pl.DataFrame({"item_id": unknown}).with_row_index(ROW, offset=last + 1)
    items = pl.concat([rows, without_row], how="diagonal")
    return items.select(ROW, "item_id", *(name for name in _TEXTS if name == "title" or items[name].count()))


_TEXT_TYPES = dict.fromkeys(_TEXTS, pl.String)


def _records(lines: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """One row per line of metadata; a line that cannot be read has no item_id, and its text as title."""
    for row, line, item_id in lines.select(ROW, LINE, "item_id").iter_rows():
        record = _parsed(line)
        if item_id is None or record is None:
            yield {ROW: row, "title": line[:500]}
        else:
            texts = {ours: _text(record, theirs) for ours, theirs in _TEXTS.items()}
            yield {ROW: row, "item_id": item_id, **texts}


def _parsed(line: str) -> dict[str, Any] | None:
    """A JSON object or a Python literal of a dict; None if it is neither."""
    try:
        record = json.loads(line)
    except ValueError:
        try:
            record = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return record if isinstance(record, dict) else None


def _text(record: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """What the record says under these names, lists flattened and without repetitions; None if nothing."""
    leaves = [leaf for name in names for leaf in _leaves(record.get(name))]
    return ", ".join(dict.fromkeys(html.unescape(leaf) for leaf in leaves)) or None


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, str) and value.strip():
        yield value.strip()
