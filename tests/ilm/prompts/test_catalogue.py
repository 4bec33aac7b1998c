"""Items by id and title, and titles in free text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilm.errors import LookupFailed
from ilm.prompts.catalogue import Catalogue

TITLES = [
    "Heat (1995)", "Ronin (1998)", "Heat (1986)", "Twin (1)", "Twin (1)", "Gone (2000)", "Matrix, The (1999)",
    "Matrix Reloaded, The (2003)", "It (1990)", "Speed (1994)", "Up", "Alien³ (1992)", "Die Hard (1988)",
]  # fmt: skip
CATALOGUE = Catalogue(
    [f"i{index}" for index in range(len(TITLES))], TITLES, np.array([title != "Gone (2000)" for title in TITLES])
)


@pytest.mark.parametrize(("wanted", "item"), [("RONIN (1998)", 1), (" heat (1986) ", 2), ("i4", 4)])
def test_an_item_is_found_by_title_in_any_case_or_by_id(wanted, item):
    assert CATALOGUE.find(wanted) == item


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Something like Heat (1995)", ["Heat (1995)"]),
        ("something like HEAT (1995), please", ["HEAT (1995)"]),
        ("I liked Ronin, not Ronin (1998)!", ["Ronin", "Ronin (1998)"]),
        ("I saw The Matrix and Matrix, The (1999)", ["The Matrix", "Matrix, The (1999)"]),
        ("the matrix reloaded", ["the matrix reloaded"]),
        ("the matrix", ["the matrix"]),
        ('"Die Hard"-like', ["Die Hard"]),
        ("films like Heat", []),
        ("it has speed, and look up", []),
        ("It should be short. Speed is not needed", []),
        ("as good as It or Speed", ["It", "Speed"]),
        ("Italy, Speedy, Ronins", []),
        ("a Twin (1)", ["Twin (1)"]),
        ("a Twin", []),
        ("as in Gone (2000)", []),
        ("", []),
    ],
)
def test_titles_in_a_text_are_the_longest_ones_that_mean_an_active_item(text, named):
    mentions = CATALOGUE.mentions(text)
    assert [text[mention.start : mention.end] for mention in mentions] == named


def test_a_mention_says_which_item():
    assert [mention.items for mention in CATALOGUE.mentions("like The Matrix or Die Hard (1988)")] == [(6,), (12,)]


def test_a_title_of_several_items_names_them_all():
    assert [mention.items for mention in CATALOGUE.mentions("like Twin (1)")] == [(3, 4)]


@given(st.lists(st.sampled_from([*TITLES, "and", "or", "like", ",", ".", "İ", "the", "(1995)"])))
def test_mentions_never_overlap_and_stand_in_order(words):
    mentions = CATALOGUE.mentions(" ".join(words))
    ends = [0, *(mention.end for mention in mentions)]
    assert all(mention.start >= end for mention, end in zip(mentions, ends, strict=False))


@given(st.sampled_from([index for index in range(len(TITLES)) if index != 5]))
def test_every_title_of_an_active_item_is_found(item):
    (mention,) = CATALOGUE.mentions(f"what about {TITLES[item]}?")
    assert item in mention.items


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("Heat (1996)", r"Did you mean 'Heat \(1995\)' or 'Heat \(1986\)'"),
        ("ronin", r"Did you mean 'Ronin \(1998\)'"),
        ("zzzzz", "no item has the title"),
        ("Gone (2000)", "no item has the title"),
        ("Twin (1)", "title of 2 items.*i3, i4"),
    ],
)
def test_a_title_that_is_no_items_gets_one_message_that_helps(wanted, message):
    with pytest.raises(LookupFailed, match=message):
        CATALOGUE.find(wanted)


@given(
    st.lists(st.sampled_from([*TITLES, "THE MATRIX", "MATRIX", "die", "Hard", " ", "!", "ß", "İt", "It", "(1", "up "]))
)
def test_looking_only_as_far_as_titles_of_that_letter_go_finds_what_looking_everywhere_finds(words):
    text, found = "".join(words), []
    spelled = CATALOGUE._spelled
    for start in range(len(text)):
        for end in range(len(text), start, -1):
            free = not found or start >= found[-1][1]
            whole = all(at in (0, len(text)) or not text[at - 1 : at + 1].isalnum() for at in (start, end))
            items = spelled.get(text[start:end].casefold())
            if free and whole and items and CATALOGUE._is_meant(text, start, end, items[0]):
                found.append((start, end))
                break
    assert [(mention.start, mention.end) for mention in CATALOGUE.mentions(text)] == found
