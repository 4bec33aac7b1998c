"""Wishes say what they want, in words that evaluation does not use, and each criterion gets its turn."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilm.eval.wishes import HELD_OUT
from ilm.prompts import wishes
from ilm.prompts.example import Example
from ilm.prompts.wishes import REFUSALS, criteria, wished
from tests.ilm.prompts.conftest import random_material

seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def few_items_are_enough(monkeypatch):
    monkeypatch.setattr(wishes, "FEWEST", 4)


def last_words(example: Example) -> str:
    return "".join(piece for piece in example.turns[-1].ask if isinstance(piece, str))


@pytest.mark.parametrize("seed", range(5))
def test_criteria_are_what_the_catalogue_says(seed):
    known = random_material(seed, items=200).attributes
    found = criteria(known)
    assert found.has.shape == (200, len(found.asked))
    assert {kind for kind, _ in found.asked} == {"value", "decade", "before"}
    for (kind, what), has in zip(found.asked, found.has.T, strict=True):
        if kind == "value":
            expected = [any(what in values[item] for values in known.lists.values()) for item in range(200)]
        elif kind == "decade":
            expected = [what <= year < what + 10 for year in known.years]
        else:
            expected = [0 < year < what for year in known.years]
        assert has.tolist() == expected


def test_a_catalogue_without_attributes_has_no_criteria():
    known = random_material(0).attributes
    bare = type(known)(known.titles, known.active, np.zeros_like(known.years), {}, known.texts, {})
    assert criteria(bare).asked == []


@pytest.mark.parametrize("seed", range(3))
def test_a_message_tells_what_is_wanted_and_only_that(seed):
    material = random_material(seed, items=200)
    found = criteria(material.attributes)
    values = [what for kind, what in found.asked if kind == "value"]
    for wish in wished(material, found, 300, seed):
        words = last_words(wish.example)
        wanted = {found.asked[number]: wish.wanted[number] for number in np.flatnonzero(wish.wanted)}
        if re.search("something (like|similar to)", words):  # the item says it
            assert not wanted
            assert any(not isinstance(piece, str) for piece in wish.example.turns[-1].ask)
            continue
        told = {value for value in values if re.search(rf"\b{re.escape(value)}\b", words)}
        assert told == {what for kind, what in wanted if kind == "value"}
        assert {int(year) for year in re.findall(r"\d{4}", words)} <= {what for _, what in wanted}
        for (kind, what), sign in wanted.items():
            if kind == "value":
                refused = words.endswith(tuple(text.format(wish=what) for text in REFUSALS))
                assert sign == (-1 if refused else 1)
            elif kind == "before":
                assert sign == (1 if re.search("older|before", words) else -1)


def test_older_and_newer_compare_with_the_item_of_the_answer_before():
    material = random_material(0, items=200)
    found, years = criteria(material.attributes), material.attributes.years
    compared = 0
    for wish in wished(material, found, 300, 0):
        if last_words(wish.example) in (wishes.OLDER, wishes.NEWER):
            (place,) = np.flatnonzero(wish.wanted)
            (item,) = (piece.index for piece in wish.example.turns[0].answer if not isinstance(piece, str))
            assert found.asked[place] == ("before", years[item] // 10 * 10)
            compared += 1
    assert compared


def test_every_criterion_is_asked_for_about_as_often_as_any_other():
    material = random_material(0, items=200)
    found = criteria(material.attributes)
    values = [number for number, (kind, _) in enumerate(found.asked) if kind == "value"]
    drawn = np.stack([wish.wanted for wish in wished(material, found, 40 * len(found.asked), 0)])
    asked = np.abs(drawn[:, values]).sum(axis=0)
    assert (asked >= 20).all()
    assert (asked <= 40).all()
    nothing = (drawn == 0).all(axis=1).mean()
    assert 0.15 < nothing < 0.35


@given(seeds)
def test_words_of_evaluation_are_not_learned_from(seed):
    material = random_material(seed)
    found = criteria(material.attributes)
    held_out = [part for wordings in HELD_OUT.values() for text in wordings for part in re.split(r"\{\w+\}", text)]
    for wish in wished(material, found, 50, seed):
        assert not [part for part in held_out if len(part.strip()) > 3 and part.strip() in last_words(wish.example)]


def test_a_wish_depends_on_its_number_and_the_seed_alone():
    material = random_material(0, items=200)
    found = criteria(material.attributes)
    few, many = wished(material, found, 10, 7), wished(material, found, 50, 7)
    assert [wish.example.turns for wish in few] == [wish.example.turns for wish in many[:10]]
    assert [wish.example.turns for wish in few] != [wish.example.turns for wish in wished(material, found, 10, 8)]
