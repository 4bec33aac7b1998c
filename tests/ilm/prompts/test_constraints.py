"""Constraints hold of every item that they allow and of none that they do not; mistakes in them are told."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilm.errors import LookupFailed
from ilm.prompts.attributes import attributes
from ilm.prompts.constraints import Constraints, parse_constraints

GENRES = ["Comedy, War", "Drama", "Comedy", "", "Horror, Comedy"]
YEARS = ["1990", "1995", "2000", "1995", ""]
KNOWN = attributes(
    pa.table(
        {
            "item_index": np.arange(5, dtype=np.int32),
            "item_id": list("abcde"),
            "title": [f"Film {number}" for number in range(5)],
            "active": [True] * 5,
            "year": YEARS,
            "genres": GENRES,
        }
    )
)


def allowed(given: dict) -> list[int]:
    return np.flatnonzero(parse_constraints(given, KNOWN).allowed(KNOWN)).tolist()


@pytest.mark.parametrize(
    ("given", "left", "words"),
    [
        ({}, [0, 1, 2, 3, 4], ""),
        ({"genres": {"any": ["comedy"]}}, [0, 2, 4], "Comedy"),
        ({"Genres": {"any": ["Drama", "War"]}}, [0, 1], "Drama or War"),
        ({"genres": {"none": ["comedy", "drama"]}}, [3], "not Comedy and Drama"),
        ({"genres": {"any": ["Comedy"], "none": ["War"]}}, [2, 4], "Comedy; not War"),
        ({"year": {"from": 1995}}, [1, 2, 3], "from 1995 or later"),
        ({"year": {"to": 1994}}, [0], "from 1994 or earlier"),
        ({"year": {"from": 1991, "to": 1999}, "genres": {}}, [1, 3], "from 1991 to 1999"),
        ({"year": {"from": 1995, "to": 1995}}, [1, 3], "from 1995"),
        ({"year": {}}, [0, 1, 2, 3, 4], ""),
    ],
)
def test_what_is_demanded_holds_and_can_be_read(given: dict, left: list[int], words: str) -> None:
    assert allowed(given) == left
    assert str(parse_constraints(given, KNOWN)) == words


@given(
    st.sets(st.sampled_from(["Comedy", "War", "Drama", "Horror"])),
    st.sets(st.sampled_from(["Comedy", "War", "Drama", "Horror"])),
    st.none() | st.integers(1985, 2005),
    st.none() | st.integers(1985, 2005),
)
def test_an_item_is_allowed_exactly_if_all_holds_of_it(wanted, refused, first, last) -> None:
    constraints = Constraints(
        {"genres": tuple(wanted)} if wanted else {}, {"genres": tuple(refused)} if refused else {}, first, last
    )
    for item, ok in enumerate(constraints.allowed(KNOWN)):
        has = {genre for genre in GENRES[item].split(", ") if genre}
        year = int(YEARS[item] or 0)
        holds = (not wanted or bool(has & wanted)) and not has & refused
        holds &= (first is None or (year > 0 and year >= first)) and (last is None or 0 < year <= last)
        assert ok == holds


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"genre": {"any": ["Comedy"]}}, "no items have a 'genre' to filter by. There is: genres, year"),
        ({"genres": {"any": ["Comdy"]}}, "no item has 'Comdy' among its genres. Near: Comedy"),
        ({"genres": {"all": ["Comedy"]}}, "'genres' has 'all'; it may have any and none"),
        ({"genres": ["Comedy"]}, "must be an object"),
        ({"genres": {"any": "Comedy"}}, "must be a list"),
        ({"genres": {"any": 3}}, "must be a list"),
        ({"year": {"from": "1990"}}, "must be a whole number"),
        ({"year": {"from": True}}, "must be a whole number"),
        ({"Genres": {"any": ["Comedy"]}, "genres": {}}, "filters Genres, genres name a column twice"),
        ({"YEAR": {"from": 1990}, "year": {"to": 1999}}, "name a column twice"),
        ({"year": {"since": 1990}}, "'year' has 'since'; it may have from and to"),
    ],
)
def test_a_mistake_is_told_with_what_there_is(given: dict, message: str) -> None:
    with pytest.raises(LookupFailed, match=message.replace(".", r"\.")):
        parse_constraints(given, KNOWN)
