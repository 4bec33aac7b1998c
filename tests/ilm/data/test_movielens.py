"""The built-in data are the edition that the docs speak of."""

import pytest

from ilm.data.raw import Source
from ilm.data.source import load
from ilm.params import DataParams


@pytest.fixture(scope="module")
def source() -> Source:
    return load(DataParams(source="movielens-small"))


def test_the_built_in_data_have_the_known_counts(source: Source) -> None:
    assert len(source.interactions.rows) == 100_004
    assert source.interactions.column("user_id").n_unique() == 671
    assert len(source.items.rows) == 9_066
    assert source.items.column("title").null_count() == 5


def test_titles_carry_the_year_and_genres_are_a_list(source: Source) -> None:
    heat = source.items.rows.filter(item_id=6).select("title", "genres").row(0)

    assert heat == ("Heat (1995)", "Action, Crime, Thriller")


def test_the_terms_of_use_are_told(source: Source) -> None:
    assert "no commercial use without permission" in source.notice
