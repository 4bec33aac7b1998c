import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilm.elm.features import ElmFeatures
from ilm.elm.plan import Texts, plan, plan_given, tasks_of
from ilm.elm.tasks import ALONE, TASKS, Request
from ilm.errors import DataError
from ilm.train.held_out import split_material
from tests.ilm.prompts.conftest import random_material


def split(seed: int) -> ElmFeatures:
    material = random_material(seed)
    parts = split_material(
        material.attributes, material.item_factors, material.popularity, {}, {}, 0, held_out_fraction=0.3, seed=seed
    )
    return ElmFeatures(None, *parts)  # type: ignore[arg-type]


@given(st.integers(0, 100))
def test_training_never_speaks_of_held_out_items_not_even_as_the_other_one(seed: int) -> None:
    read = split(seed)
    requests = plan(read.training, read.held_out, 5, 4, seed)
    held_out = set(read.held_out.items.tolist())
    learned = [request for request in requests if not request.held_out]
    assert not {item for request in learned for item in (request.item, request.other)} & held_out
    assert {request.item for request in requests if request.held_out} <= held_out


@given(st.integers(0, 100))
def test_all_tasks_have_the_same_items_and_pairs_have_two_different_ones(seed: int) -> None:
    read = split(seed)
    requests = plan(read.training, read.held_out, 5, 4, seed)
    items = {task: {r.item for r in requests if r.held_out and r.task == task} for task in TASKS}
    assert all(found == items["summary"] for found in items.values())
    assert len(items["summary"]) == 4
    assert all((r.other == ALONE) == (TASKS[r.task].other == "none") and r.other != r.item for r in requests)


def test_nearest_neighbour_has_the_largest_cosine_of_all_that_may_be_named() -> None:
    read = split(3)
    vectors = read.training.item_factors / np.linalg.norm(read.training.item_factors, axis=1, keepdims=True)
    for request in plan(read.training, read.held_out, 5, 5, 0):
        if TASKS[request.task].other == "nearest":
            material = read.held_out if request.held_out else read.training
            cosines = {other: vectors[other] @ vectors[request.item] for other in np.flatnonzero(material.named)}
            del cosines[request.item]
            assert request.other == max(cosines, key=lambda other: cosines[other])


def test_plan_depends_on_its_seed_alone_and_fewer_items_are_the_first_ones() -> None:
    read = split(0)
    whole, again = (plan(read.training, read.held_out, 6, 6, 1) for _ in range(2))
    assert whole == again
    assert set(plan(read.training, read.held_out, 2, 3, 1)) < set(whole)
    assert set(plan(read.training, read.held_out, 6, 6, 2)) != set(whole)


def test_item_without_a_vector_is_not_asked_about() -> None:
    read = split(0)
    read.training.item_factors[read.held_out.items[1:]] = 0
    requests = plan(read.training, read.held_out, 1, 9, 0)
    assert {request.item for request in requests if request.held_out} == {read.held_out.items[0]}


def test_too_few_items_are_refused() -> None:
    material = random_material(0)
    training, held_out = split_material(
        material.attributes, material.item_factors, material.popularity, {}, {}, 0, held_out_fraction=0.0, seed=0
    )
    with pytest.raises(DataError, match="0 items are held out"):
        plan(training, held_out, 5, 5, 0)


def test_given_texts_are_used_of_items_that_have_all_tasks() -> None:
    read = split(0)
    learned, judged = read.training.items[:3].tolist(), read.held_out.items[:3].tolist()
    texts: Texts = {
        **{("summary", item, ALONE): "text" for item in [*learned, *judged]},
        **{("similarities", item, learned[0]): "text" for item in [*learned[1:], *judged[:2]]},
        ("similarities", learned[0], judged[0]): "a training item beside a held-out one",
    }
    requests = plan_given(texts, read.training, read.held_out, 9, 9, 0)
    assert {r.item for r in requests if not r.held_out} == set(learned[1:])
    assert {r.item for r in requests if r.held_out} == set(judged[:2])
    assert all(texts[r.task, r.item, r.other] for r in requests)
    assert tasks_of(requests) == ["summary", "similarities"]
    assert requests == sorted(requests)
    assert Request(True, "summary", judged[0]) in requests


def test_given_texts_without_a_whole_item_in_a_part_are_refused() -> None:
    read = split(0)
    texts = {("summary", int(read.training.items[0]), ALONE): "text"}
    with pytest.raises(DataError, match="held out has a given text"):
        plan_given(texts, read.training, read.held_out, 1, 1, 0)
