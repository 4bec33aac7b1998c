"""The texts that describe an item, in several variants, so that stage 1 does not learn one wording by heart."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.data.schema import CATALOGUE, ITEM_TEXT, text_columns

SHORT_WORDS = 20
"""A column whose texts have at most this many words on average joins the title; a longer one is a text of its own."""
LONG_TEXT_WORDS = 60
"""Longer texts are cut after so many words."""


def item_texts(catalogue: pl.DataFrame, rows: NDArray[np.int64]) -> pl.DataFrame:
    """The table ITEM_TEXT, for the items of the train part, sorted: the others have no vector to learn the text of.

    Variant 0 is the title: `Heat (1995)`. Variant 1 adds the short columns: `Heat (1995). Genres: Action, Crime.`
    Variants 2, 3, … are the long columns by name, cut at `LONG_TEXT_WORDS`. A variant that would say nothing (all its
    columns are empty for the item) is left out.

    Args:
        catalogue: of step `split`.
        rows: of each item in the train part, [items].
    """
    items = catalogue.filter(pl.Series(rows > 0))
    columns = text_columns(items, CATALOGUE)
    long = [name for name in columns if _mean_words(items[name]) > SHORT_WORDS]
    variants = [pl.col("title"), _with_short_columns([name for name in columns if name not in long])]
    variants += [pl.col(name).str.extract(rf"^((?:\S+\s+){{0,{LONG_TEXT_WORDS - 1}}}\S+)") for name in long]
    frames = [
        items.select("item_index", variant=pl.lit(number, dtype=pl.Int32), text=text)
        for number, text in enumerate(variants)
    ]
    return pl.concat(frames).drop_nulls("text").sort("item_index", "variant").select(list(ITEM_TEXT))


def _with_short_columns(names: list[str]) -> pl.Expr:
    """Title, then `Name: value.` for every column that has a value; null where none has."""
    if not names:
        return pl.lit(None, dtype=pl.String)
    parts = [pl.format(f" {_label(name)}: {{}}", _sentence(pl.col(name))) for name in names]
    added = pl.concat_str(parts, ignore_nulls=True)
    return pl.when(added != "").then(pl.concat_str(_sentence(pl.col("title")), added))


def _label(name: str) -> str:
    """Column name as a word: `original_language` -> `Original language`. Braces would be read by pl.format."""
    words = " ".join(name.replace("_", " ").replace("{", "").replace("}", "").split())
    return words[:1].upper() + words[1:]


def _sentence(text: pl.Expr) -> pl.Expr:
    """Lists written with bars get commas, and the end gets a full stop unless it has its own."""
    listed = text.str.replace_all(r"\s*\|\s*", ", ")
    return pl.when(listed.str.contains(r"[.!?…]$")).then(listed).otherwise(listed + ".")


def _mean_words(texts: pl.Series) -> float:
    words = texts.drop_nulls().str.count_matches(r"\S+").mean()
    return float(words) if isinstance(words, int | float) else 0.0
