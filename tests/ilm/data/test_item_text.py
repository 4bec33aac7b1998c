"""Item texts read like text, and say nothing where there is nothing to say."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.data.item_pairs import item_rows
from ilm.data.item_text import LONG_TEXT_WORDS, item_texts
from ilm.data.schema import CATALOGUE, ITEM_TEXT, SEQUENCES


def catalogue(titles: list[str], **texts: list[str | None]) -> pl.DataFrame:
    columns = {"item_index": range(len(titles)), "item_id": titles, "title": titles, **texts}
    types = dict(CATALOGUE) | dict.fromkeys(texts, pl.String)
    return pl.DataFrame(columns | {"active": [True] * len(titles)}, schema_overrides=types)


def met(*parts: str) -> NDArray[np.int64]:
    """Train rows of item 0, item 1, …, which somebody met in these parts."""
    rows = [(0, item, item, part) for item, part in enumerate(parts)]
    return item_rows([pl.DataFrame(rows, schema=dict(SEQUENCES), orient="row")], len(parts))


def rows(table: pl.DataFrame) -> list[tuple[int, int, str]]:
    return item_texts(table, met(*["train"] * len(table))).rows()


def test_title_alone_then_with_short_columns() -> None:
    assert rows(catalogue(["Heat (1995)"], genres=["Action, Crime, Thriller"], original_language=["English"])) == [
        (0, 0, "Heat (1995)"),
        (0, 1, "Heat (1995). Genres: Action, Crime, Thriller. Original language: English."),
    ]


def test_sentences_end_once_and_bars_become_commas() -> None:
    assert rows(catalogue(["Who's There?"], genres=["Drama|War"], tagline=["Run!"]))[1][2] == (
        "Who's There? Genres: Drama, War. Tagline: Run!"
    )


def test_missing_short_texts_are_passed_over() -> None:
    table = catalogue(["A", "B"], genres=["Drama", None], mood=[None, None])

    assert rows(table) == [(0, 0, "A"), (0, 1, "A. Genres: Drama."), (1, 0, "B")]


def test_long_columns_are_texts_of_their_own_cut_after_so_many_words() -> None:
    words = [f"w{n}" for n in range(LONG_TEXT_WORDS + 5)]
    table = catalogue(["A", "B"], genres=["x", "x"], plot=[" ".join(words), None], summary=["a b " * 15, "c d " * 15])

    by_variant = {(index, variant): text for index, variant, text in rows(table)}

    assert by_variant[0, 2] == " ".join(words[:LONG_TEXT_WORDS])
    assert (1, 2) not in by_variant
    assert by_variant[1, 3] == ("c d " * 15).strip()


def test_only_items_of_the_train_part_have_texts() -> None:
    assert item_texts(catalogue(["A", "B", "C"]), met("valid", "train", "test")).rows() == [(1, 0, "B")]


def test_texts_of_other_items_do_not_decide_which_columns_are_long() -> None:
    table = catalogue(["A", "B"], plot=["short", "long " * 500])

    assert item_texts(table, met("train", "test")).rows() == [(0, 0, "A"), (0, 1, "A. Plot: short.")]


def test_the_table_is_the_one_of_the_contract() -> None:
    assert dict(item_texts(catalogue(["A"]), met("train")).schema) == dict(ITEM_TEXT)
