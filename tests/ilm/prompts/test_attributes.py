"""What a catalogue says of its items, whatever columns it has."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ilm.errors import ArtifactError
from ilm.prompts.attributes import attributes, listed, read_attributes, sentence


def table(titles, **columns):
    return pa.table({"item_index": range(len(titles)), "title": titles, "active": [True] * len(titles), **columns})


def test_year_comes_from_the_end_of_the_title():
    known = attributes(table(["Heat (1995)", "2001 (a tale)", "1984", "Twice (1950) (1960) "]))
    assert known.years.tolist() == [1995, 0, 0, 1960]


def test_year_column_goes_before_the_title():
    known = attributes(table(["Heat (1995)", "Ronin (1998)", "Soap"], year=["1996", None, "about 2000"]))
    assert known.years.tolist() == [1996, 1998, 0]


@pytest.mark.parametrize("text", ["Action, Crime ,Action", "Action|Crime"])
def test_short_columns_are_lists_without_repetitions(text):
    known = attributes(table(["a", "b"], genres=[text, None]))
    assert known.lists == {"genres": [("Action", "Crime"), ()]}


def test_commas_are_words_where_bars_part_the_values():
    known = attributes(table(["a"], categories=["Face, neck|Skin"]))
    assert known.lists["categories"] == [("Face, neck", "Skin")]


def test_long_columns_are_texts_and_names_of_columns_become_words():
    story = "word " * 40
    known = attributes(table(["a", "b"], original_language=["English", ""], story=[story, None]))
    assert list(known.lists) == ["original language"]
    assert known.texts == [(story.strip(),), ()]


def test_catalogue_of_titles_alone_has_no_lists_texts_or_years():
    known = attributes(table(["Soap", "Tea"]))
    assert (known.lists, known.texts, known.years.tolist()) == ({}, [(), ()], [0, 0])


def test_wishes_are_values_that_many_active_items_share():
    known = attributes(table(["x"] * 12, genres=["Drama, Rare"] + ["Drama"] * 9 + ["Rare"] * 2))
    assert known.common == {"genres": frozenset({"Drama"})}
    assert known.wishes(0) == ["Drama"]


def test_sentences_and_lists_read_like_english():
    assert [sentence(text) for text in ("Heat (1995)", "Airplane!", "Who?")] == ["Heat (1995).", "Airplane!", "Who?"]
    assert [listed(values) for values in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


@pytest.mark.parametrize("wrong", [{"title": ["a"]}, {"item_index": [1], "title": ["a"], "active": [True]}])
def test_what_is_no_catalogue_is_refused(wrong, tmp_path):
    pq.write_table(pa.table(wrong), tmp_path / "catalogue.parquet")
    with pytest.raises(ArtifactError, match="Run the split step again"):
        read_attributes(tmp_path / "catalogue.parquet")


def test_a_missing_catalogue_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="catalogue"):
        read_attributes(tmp_path / "catalogue.parquet")


def test_attributes_are_by_item_index():
    known = attributes(table(["a (2000)", "b (1990)"], genres=["X", "Y"]))
    np.testing.assert_array_equal(known.years, [2000, 1990])
    assert known.shared("genres", 0, 1) == []
