"""What is demanded in so many words is understood; what is only said is left to the model."""

import numpy as np
import pyarrow as pa
import pytest

from ilm.prompts.attributes import attributes
from ilm.prompts.catalogue import Catalogue
from ilm.prompts.stated import stated

GENRES = ("Action", "Animation", "Children", "Comedy", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Romance",
          "Sci-Fi", "Thriller", "War", "Western")  # fmt: skip
TITLES = ["Caddyshack (1980)", "Heat (1995)", "War of the Worlds (2005)", "Speed"]
ROWS = [*TITLES, *(f"Film {number} (1990)" for number in range(10))]
TABLE = pa.table(
    {
        "item_index": np.arange(len(ROWS), dtype=np.int32),
        "item_id": [f"i{number}" for number in range(len(ROWS))],
        "title": ROWS,
        "active": [True] * len(ROWS),
        "genres": ["Rare", "", "", "", *([", ".join(GENRES)] * 10)],
    }
)
KNOWN = attributes(TABLE)
CATALOGUE = Catalogue(TABLE["item_id"].to_pylist(), ROWS, KNOWN.active)


def said(*words: str) -> str:
    turns = [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(words)]
    return str(stated(turns, KNOWN, CATALOGUE))


@pytest.mark.parametrize(
    ("words", "understood"),
    [
        ("A comedy, please", "Comedy"),
        ("COMEDIES from the 90s", "Comedy; from 1990 to 1999"),
        ("sci fi or film noir", "Film-Noir or Sci-Fi"),
        ("What about a children's film?", "Children"),
        ("no horror, war or westerns", "not Horror, War and Western"),
        ("No horror, a comedy please", "Comedy; not Horror"),
        ("A comedy but not a musical", "Comedy; not Musical"),
        ("I don\u2019t like horror. Rather drama.", "Drama; not Horror"),
        ("nothing animated", "not Animation"),
        ("without romantic stories", "not Romance"),
        ("anything but comedy", "not Comedy"),
        ("A thriller without romance", "Thriller; not Romance"),
        ("something other than drama", "not Drama"),
    ],
)  # fmt: skip
def test_values_are_asked_for_and_refused_by_name(words: str, understood: str) -> None:
    assert said(words) == understood


@pytest.mark.parametrize(
    ("words", "understood"),
    [
        ("from the eighties", "from 1980 to 1989"),
        ("the '60s", "from 1960 to 1969"),
        ("something of the 2010s", "from 2010 to 2019"),
        ("from the 10s", "from 2010 to 2019"),
        ("before 1980", "from 1979 or earlier"),
        ("newer than 2000", "from 2001 or later"),
        ("since 2001", "from 2001 or later"),
        ("from 1990 on", "from 1990 or later"),
        ("after 1990 and before 1995", "from 1991 to 1994"),
        ("between 1995 and 1990", "from 1990 to 1995"),
        ("made in 1994", "from 1994"),
        ("older than Heat (1995)", "from 1994 or earlier"),
    ],
)
def test_years_are_understood(words: str, understood: str) -> None:
    assert said(words) == understood


@pytest.mark.parametrize(
    "words",
    [
        "Recommend something.", "a fantastic film", "War of the Worlds was great", "something like Heat (1995)",
        "I don't mind drama", "I am not sure", "something rare", "older", "not from the 90s", "warm and funny",
        "2 hours at most", "",
    ],
)  # fmt: skip
def test_what_is_not_stated_beyond_doubt_demands_nothing(words: str) -> None:
    assert said(words) == ""


def test_older_and_newer_are_meant_against_the_first_item_of_the_last_answer() -> None:
    answer = "Try Caddyshack (1980). Genres: Comedy.\nOr Heat (1995)."
    assert said("Hello", answer, "Something older, please") == "from 1979 or earlier"
    assert said("Hello", answer, "More recent") == "from 1981 or later"
    assert said("Hello", "Try Speed.", "Something older") == ""
    assert said("Hello", answer, "older", "Try Heat (1995).", "newer") == "from 1996 or later"


def test_demands_of_a_conversation_add_up_and_later_ones_count() -> None:
    answer = "Try Heat (1995)."
    assert said("A comedy", answer, "not animated", answer, "no horror") == "Comedy; not Animation and Horror"
    assert said("A comedy", answer, "Rather drama") == "Drama"
    assert said("No comedy", answer, "Well, a comedy then") == "Comedy"
    assert said("A comedy", answer, "no comedy") == "not Comedy"
    assert said("from the 90s", answer, "before 1950") == "from 1949 or earlier"


def test_what_the_assistant_says_demands_nothing() -> None:
    assert said("Hello", "Try a Comedy from the 90s, no horror", "ok") == ""
