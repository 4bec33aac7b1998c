"""Every answer is true: what it says is checked against the catalogue, the vectors and the log, word by word."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilm.errors import DataError
from ilm.prompts.example import USER, Item
from ilm.prompts.tasks import TASKS, usable_rows
from ilm.prompts.user_tasks import NEIGHBOURS
from ilm.setting_rules import DEFAULT_MIXTURE
from tests.ilm.prompts.conftest import GENRES, random_material

seeds = st.integers(0, 2**32 - 1)


def every_example(task, seed):
    """Material, and (row, example) for all rows of a task."""
    material = random_material(seed)
    rows = TASKS[task].rows(material)
    return material, [
        (int(row), TASKS[task].example(material, int(row), np.random.default_rng([seed, row]))) for row in rows
    ]


def words(content):
    """Words as they stand, items as <index>, the user as <user>."""
    return "".join(
        piece if isinstance(piece, str) else " <user>" if piece == USER else f" <{piece.index}>" for piece in content
    )


def shown(content):
    return [piece.index for piece in content if isinstance(piece, Item)]


def values(text):
    return set(text.rstrip(".").split(", "))


def test_the_settings_name_the_same_tasks():
    assert set(DEFAULT_MIXTURE) == set(TASKS)


@given(seeds)
def test_descriptions_say_the_title_all_genres_and_the_text(seed):
    material, examples = every_example("description", seed)
    known = material.attributes
    for item, example in examples:
        (turn,) = example.turns
        assert shown(turn.ask) == [item]
        parts = [f"{known.titles[item]}."]
        if known.lists["genres"][item]:
            parts.append(f"Genres: {', '.join(known.lists['genres'][item])}.")
        parts += [f"{text}." for text in known.texts[item]]
        assert words(turn.answer) == " ".join(parts)


@given(seeds)
def test_attribute_answers_are_the_catalogues(seed):
    material, examples = every_example("attributes", seed)
    known = material.attributes
    for item, example in examples:
        (turn,) = example.turns
        said = words(turn.answer)
        if "called" in words(turn.ask):
            assert said == f"{known.titles[item]}."
        elif "year" in words(turn.ask):
            assert said == f"{re.search(r'[(]([0-9]+)[)]', known.titles[item])[1]}."
        else:
            assert words(turn.ask) == f"Which genres does <{item}> have?"
            assert set(re.split(", | and ", said.rstrip("."))) == set(known.lists["genres"][item])


@given(seeds)
def test_comparisons_are_true_of_both_items(seed):
    material, examples = every_example("comparison", seed)
    known = material.attributes
    for item, example in examples:
        (turn,) = example.turns
        first, second = shown(turn.ask)
        assert first == item != second
        assert material.named[[first, second]].all()
        said = words(turn.answer)
        years, chosen = known.years[[first, second]], material.popularity[[first, second]]
        assert ("first is older" in said) == (0 < years[0] < years[1])
        assert ("second is older" in said) == (0 < years[1] < years[0])
        assert (f"Both are from {years[0]}" in said) == (0 < years[0] == years[1])
        assert ("More users chose the first" in said) == (chosen[0] > chosen[1])
        assert ("More users chose the second" in said) == (chosen[0] < chosen[1])
        assert ("Equally many" in said) == (chosen[0] == chosen[1])
        one, other = (set(known.lists["genres"][index]) for index in (first, second))
        expected = {"both": one & other, "the first alone": one - other, "the second alone": other - one}
        found = {name: values(text) for name, text in re.findall("of ([a-z ]+): ([^;.]+)", said)}
        assert said.count(": ") == len(found)
        assert found == ({name: value for name, value in expected.items() if value} if one and other else {})


@given(seeds)
def test_reasons_are_the_closest_choices_and_what_they_share(seed):
    material, examples = every_example("why", seed)
    known, factors = material.attributes, material.item_factors.astype(np.float64)
    for row, example in examples:
        (turn,) = example.turns
        history, target = material.choices["sequential"][row]
        assert np.array_equal(example.profile, history)
        choices = [index for index in shown(turn.ask) if index != target]
        assert set(choices) <= set(history.tolist())
        assert target in shown(turn.ask)
        cosine = {choice: factors[choice] @ factors[target] / np.linalg.norm(factors[choice]) for choice in choices}
        reasons = re.findall(r"Tale (\d+)([^T]*)", words(turn.answer))
        assert [int(reason) for reason, _ in reasons] == sorted(cosine, key=cosine.get, reverse=True)[:2]
        for reason, said in reasons:
            both = set(known.lists["genres"][int(reason)]) & set(known.lists["genres"][target])
            assert {genre for genre in GENRES if genre in said} == both


@given(seeds)
def test_conversations_end_with_what_was_chosen_next_and_it_fulfils_the_wish(seed):
    material, examples = every_example("conversation", seed)
    known, factors = material.attributes, material.item_factors.astype(np.float64)
    for row, example in examples:
        history, target = material.choices["sequential"][row]
        targets = [target] if len(example.turns) == 1 else [int(history[-1]), target]
        assert [turn.target for turn in example.turns] == targets
        assert np.array_equal(example.profile, history[: len(history) + 1 - len(targets)])
        previous = None
        for turn, item in zip(example.turns, targets, strict=True):
            ask, genres, year = words(turn.ask), known.lists["genres"][item], known.years[item]
            for wish in re.findall(r"(?:Recommend|want|Suggest|Rather) ([A-Z][a-zA-Z-]*)", ask):
                assert wish in genres
                assert previous is None or wish not in known.lists["genres"][previous]
            for decade in re.findall(r"from the (\d+)s", ask):
                assert int(decade) == year // 10 * 10
            for other in map(int, re.findall(r"like <(\d+)>", ask)):
                cosine = factors @ factors[other] / np.linalg.norm(factors, axis=1)
                nearest = np.argsort(-cosine)
                assert item in nearest[nearest != other][:NEIGHBOURS]
            if "older" in ask or "newer" in ask:
                assert ("older" in ask) == (year < known.years[previous])
                assert year and known.years[previous]
            assert material.named[item]
            facts = f" Genres: {', '.join(genres)}." if genres else ""
            assert words(turn.answer) == f"Try <{item}> {known.titles[item]}.{facts}"
            previous = item


@given(seeds)
def test_no_answer_names_an_item_that_is_held_out(seed):
    for task in set(TASKS) - {"title"}:
        material, examples = every_example(task, seed)
        for _, example in examples:
            for turn in example.turns:
                said = re.findall(r"Tale (\d+)", words(turn.answer))
                assert material.named[[int(index) for index in said]].all(), task


@given(seeds)
def test_title_is_the_sequential_prompt_with_the_targets_title(seed):
    material = random_material(seed)
    for row in range(3):
        one, other = (
            TASKS[task].example(material, row, np.random.default_rng(seed)).turns[0] for task in ("sequential", "title")
        )
        assert (one.ask, one.target, one.answer) == (other.ask, other.target, ())
        assert other.answer == (f" {material.attributes.titles[other.target]}",)


def test_title_answers_with_another_name_where_items_have_one():
    material = replace(random_material(0), spoken=[f"item_{item}" for item in range(60)])
    for row in range(5):
        (turn,) = TASKS["title"].example(material, row, np.random.default_rng(0)).turns
        assert turn.answer == (f" item_{turn.target}",)


@given(seeds)
def test_sequential_asks_each_shown_item_for_the_one_after_it(seed):
    material, examples = every_example("sequential", seed)
    for row, example in examples:
        history, target = material.choices["sequential"][row]
        items = [piece for piece in example.turns[0].ask if isinstance(piece, Item)]
        assert [piece.index for piece in items] == history[-8:].tolist()
        assert [piece.following for piece in items] == [*history[-8:][1:].tolist(), target]
        assert example.turns[0].target == target


def test_examples_are_the_same_for_the_same_generator():
    for task in TASKS:
        material = random_material(3)
        row = int(TASKS[task].rows(material)[0])
        one, other = (TASKS[task].example(material, row, np.random.default_rng(5)).turns for _ in range(2))
        assert one == other


def test_task_without_any_example_is_refused_by_name():
    material = random_material(0, users=0)
    with pytest.raises(DataError, match=r"why, conversation.*finetune\.mixture\.why"):
        usable_rows(material, {"description": 1, "why": 1, "conversation": 1, "title": 0})


def test_catalogue_of_titles_alone_still_has_every_task():
    material = random_material(1)
    empty = [()] * len(material.attributes.titles)
    known = material.attributes
    bare = type(known)([f"Soap {i}" for i in range(60)], known.active, known.years * 0, {}, empty, {})
    plain = type(material)(**{**vars(material), "attributes": bare})
    for task, rows in usable_rows(plain, DEFAULT_MIXTURE).items():
        example = TASKS[task].example(plain, int(rows[0]), np.random.default_rng(0))
        assert example.turns
