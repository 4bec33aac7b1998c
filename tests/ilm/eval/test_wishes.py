"""Wishes are true of the held-out item, and are spoken in the words that they should be."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilm.eval.conversation import TURNS
from ilm.eval.wishes import HELD_OUT, KINDS, draw_wish, nearest
from ilm.prompts.tasks import TASKS
from ilm.prompts.user_tasks import LEADS, NEIGHBOURS
from ilm.prompts.wishes import has_value
from tests.ilm.prompts.conftest import random_material

seeds = st.integers(0, 2**32 - 1)


def drawn(seed):
    """Material, and (history, target, wish) of every row that has a wish."""
    material = random_material(seed)
    found = []
    for row in range(len(material.choices["sequential"].targets)):
        history, target = material.choices["sequential"][row]
        wish = draw_wish(material.attributes, material.directions, history, target, np.random.default_rng([seed, row]))
        if wish is not None:
            found.append((history, target, wish))
    return material, found


@given(seeds)
def test_the_held_out_item_fulfils_the_wish_and_every_turn_is_worded(seed):
    for _, target, wish in drawn(seed)[1]:
        assert wish.kind in KINDS
        assert wish.fulfilled[target]
        assert set(wish.says) == set(TURNS)


@given(seeds)
def test_what_fulfils_a_wish_is_what_its_words_say(seed):
    material, found = drawn(seed)
    known = material.attributes
    for history, target, wish in found:
        words = wish.says["first_seen"]
        if wish.kind == "value":
            (value,) = re.fullmatch(r"(?:Recommend|I want|Suggest) (.+)\.", words).groups()
            assert wish.fulfilled.tolist() == [value in values for values in known.lists["genres"]]
            assert value in wish.says["second_seen"]
        elif wish.kind == "decade":
            (decade,) = re.search(r"from the (\d{4})s", words).groups()
            assert wish.fulfilled.tolist() == [int(decade) <= year < int(decade) + 10 for year in known.years]
            assert {decade, str(int(decade) + 9)} <= set(re.findall(r"\d{4}", wish.says["first_unseen"]))
        else:
            (similar,) = [item for item in set(history.tolist()) if words.endswith(f" like {known.titles[item]}.")]
            assert similar != target
            assert wish.fulfilled.tolist() == [
                material.is_neighbour(item, similar, NEIGHBOURS) for item in range(len(known.titles))
            ]
            assert known.titles[similar] in wish.says["second_unseen"]


@given(seeds)
def test_without_a_wish_no_word_tells_it(seed):
    for *_, wish in drawn(seed)[1]:
        assert wish.says["first_without"] in [f"{lead} something." for lead in LEADS]
        assert wish.says["second_without"] == "Something else, please."


@given(seeds)
def test_training_never_uses_the_held_out_wordings(seed):
    material = random_material(seed)
    held_out = [part for wordings in HELD_OUT.values() for text in wordings for part in re.split(r"\{\w+\}", text)]
    for row in TASKS["conversation"].rows(material):
        example = TASKS["conversation"].example(material, int(row), np.random.default_rng([seed, row]))
        asked = " ".join(piece for turn in example.turns for piece in turn.ask if isinstance(piece, str))
        assert not [part for part in held_out if len(part.strip()) > 3 and part.strip() in asked]


def test_an_item_of_which_nothing_is_known_has_no_wish():
    material = random_material(0)
    known = material.attributes
    bare = int(np.flatnonzero(known.years == 0)[0])
    known.lists["genres"][bare] = ()
    history = np.zeros(0, np.int32)
    assert draw_wish(known, material.directions, history, bare, np.random.default_rng(0)) is None


def test_all_kinds_are_drawn_where_all_are_possible():
    kinds = {wish.kind for seed in range(5) for *_, wish in drawn(seed)[1]}
    assert kinds == set(KINDS)


@pytest.mark.parametrize("count", [1, 3, 50])
def test_nearest_items_are_other_items_and_at_most_as_many_as_there_are(count):
    angles = np.array([0.0, 0.1, -0.2, 0.4, 3.0])
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert np.flatnonzero(nearest(directions, 0, count)).tolist() == [1, 2, 3, 4][: min(count, 4)]


def test_only_item_has_no_neighbour():
    assert nearest(np.ones((1, 2), np.float32), 0).tolist() == [False]


def test_a_value_counts_in_whichever_list_it_stands():
    known = random_material(1).attributes
    known.lists["mood"] = [("Comedy",) if item == 3 else () for item in range(len(known.titles))]
    assert has_value(known, "Comedy")[3]
    assert not has_value(known, "Nothing").any()
