"""Conversations with stand-ins for the model: one does as it is told, one is deaf; and numbers counted by hand."""

import re

import numpy as np
import pyarrow as pa
import pytest

from ilm.eval.conversation import METRICS, TURNS, evaluate_conversations, summarise
from ilm.eval.protocol import TOP, Cases
from ilm.eval.wishes import Wish
from ilm.prompts.attributes import Attributes, attributes
from ilm.prompts.catalogue import Catalogue
from ilm.prompts.example import Example, Item

ITEMS, USERS = 60, 9
GENRES = ("Comedy", "Drama", "Horror")


class Deaf:
    """Recommends by index, whatever is said. Remembers what it was asked."""

    batch_size = 4

    def __init__(self, known: Attributes) -> None:
        self.known, self.asked = known, []

    def score_examples(self, examples: list[Example]) -> np.ndarray:
        self.asked += examples
        return np.stack([self.score(example) for example in examples])

    def score(self, example: Example) -> np.ndarray:
        return -np.arange(ITEMS, dtype=np.float32)


class Obedient(Deaf):
    """Prefers what has the genre, is of the years, or is near the item that the last message names."""

    def score(self, example: Example) -> np.ndarray:
        scores = super().score(example)
        pieces = example.turns[-1].ask
        words = " ".join(piece for piece in pieces if isinstance(piece, str)).removeprefix("My taste is . I liked")
        last = words.rsplit(". ", 1)[-1] if len(example.turns) == 1 else words
        for genre in GENRES:
            if genre in last:
                scores[[genre in values for values in self.known.lists["genres"]]] += 1000
        if years := re.findall(r"\b(\d{3}0)(?:s| |\b)", last):
            scores[self.known.years // 10 * 10 == int(years[0])] += 1000
        return scores


@pytest.fixture
def known() -> Attributes:
    rng = np.random.default_rng(0)
    return attributes(
        pa.table(
            {
                "item_index": range(ITEMS),
                "title": [f"Tale {item} ({rng.integers(1970, 2010)})" for item in range(ITEMS)],
                "genres": [GENRES[item % 3] for item in range(ITEMS)],
                "active": [item != 7 for item in range(ITEMS)],
            }
        )
    )


@pytest.fixture
def cases() -> Cases:
    rng = np.random.default_rng(1)
    seen = [np.setdiff1d(rng.permutation(ITEMS)[:5], [7, 40 + user]).astype(np.int32) for user in range(USERS)]
    users = np.arange(USERS, dtype=np.int32)
    return Cases(users, users + 40, seen, seen)


def talk(ranker: Deaf, cases: Cases, users: int = USERS, seed: int = 0) -> dict:
    known = ranker.known
    catalogue = Catalogue([f"i{item}" for item in range(ITEMS)], known.titles, known.active)
    factors = np.random.default_rng(2).normal(size=(ITEMS, 3)).astype(np.float32)
    return evaluate_conversations(ranker, catalogue, known, cases, factors, users=users, samples=200, seed=seed)


def words_only(found: dict) -> list[dict]:
    return [found["by_wish"][kind] for kind in ("value", "decade") if kind in found["by_wish"]]


def test_deaf_model_is_not_steered_by_words(known: Attributes, cases: Cases) -> None:
    found = talk(Deaf(known), cases)
    for group in words_only(found):
        for pair in ("first_seen_minus_first_without", "first_unseen_minus_first_without"):
            assert all(test["difference"] == 0 for test in group["paired"][pair].values())


def test_obedient_model_fulfils_every_wish_in_words_and_only_where_it_is_told(known: Attributes, cases: Cases) -> None:
    found = talk(Obedient(known), cases)
    assert set(found["by_wish"]) >= {"value", "decade"}
    assert min(group["turns"]["first_without"]["fulfilled_at_1"] for group in words_only(found)) < 1.0
    for group in words_only(found):
        for turn in ("first_seen", "first_unseen", "second_seen", "second_unseen"):
            assert group["turns"][turn]["fulfilled_at_1"] == 1.0
        steering = group["paired"]["first_seen_minus_first_without"]["fulfilled_at_1"]
        assert steering["difference"] == pytest.approx(1 - group["turns"]["first_without"]["fulfilled_at_1"])


def test_recommended_items_exist_and_are_new_to_the_user(known: Attributes, cases: Cases) -> None:
    found = talk(Deaf(known), cases)
    assert found["users"] == USERS
    assert found["recommendations"] == (USERS - found["users_without_a_wish"]) * len(TURNS) * TOP
    assert found["in_catalogue"] == 1.0
    assert found["not_seen_before"] == 1.0


def test_second_question_stands_behind_the_models_own_answer_whose_item_is_not_given_again(
    known: Attributes, cases: Cases
) -> None:
    ranker = Deaf(known)
    talk(ranker, cases, users=1)
    second = [example for example in ranker.asked if len(example.turns) == 2]
    assert len(second) == 3
    first_item = min(set(range(ITEMS)) - {7} - set(cases.seen[0].tolist()))
    for example in second:
        assert Item(first_item) in example.turns[0].answer
        assert "".join(p for p in example.turns[0].answer if isinstance(p, str)).startswith("Try Tale")


def test_users_are_evenly_spaced_and_at_most_as_many_as_there_are(known: Attributes, cases: Cases) -> None:
    ranker = Deaf(known)
    assert talk(ranker, cases, users=3)["users"] == 3
    profiles = {tuple(example.profile.tolist()) for example in ranker.asked}
    assert profiles <= {tuple(cases.seen[user].tolist()) for user in (0, 4, 8)}
    assert talk(Deaf(known), cases, users=500)["users"] == USERS


def test_same_seed_gives_the_same_numbers_and_another_one_other_wishes(known: Attributes, cases: Cases) -> None:
    assert talk(Deaf(known), cases) == talk(Deaf(known), cases)
    asked = []
    for seed in (0, 1):
        ranker = Deaf(known)
        talk(ranker, cases, seed=seed)
        asked.append([example.turns for example in ranker.asked])
    assert asked[0] != asked[1]


def test_catalogue_without_anything_to_ask_for_is_no_mistake(cases: Cases) -> None:
    bare = attributes(pa.table({"item_index": range(ITEMS), "title": ["x"] * ITEMS, "active": [True] * ITEMS}))
    nobody = Cases(cases.user_index, cases.targets, [np.zeros(0, np.int32)] * USERS, [np.zeros(0, np.int32)] * USERS)
    assert talk(Deaf(bare), nobody) == {"users": USERS, "users_without_a_wish": USERS}


WISHES = [
    Wish("value", np.array([True, True, False, False]), {}),
    Wish("decade", np.array([False, False, True, False]), {}),
]
ACTIVE = np.array([True, True, True, False])
SEEN = [np.array([2], np.int32), np.array([0], np.int32)]


def summary(**lists: list[list[int]]) -> dict:
    whole = {turn: [[0], [1]] for turn in TURNS} | lists
    return summarise(WISHES, whole, SEEN, np.array([1, 2], np.int32), ACTIVE, samples=100, seed=0)


def test_numbers_are_those_counted_by_hand() -> None:
    found = summary(first_seen=[[0, 1], [1, 2]])
    assert found["all"]["turns"]["first_seen"] == dict(zip(METRICS, (0.5, 0.75, 1.0), strict=True))
    assert found["by_wish"]["decade"]["turns"]["first_seen"] == dict(zip(METRICS, (0.0, 0.5, 1.0), strict=True))
    assert found["all"]["chance"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert found["distinct"]["first_seen"] == {"at_1": 1.0, f"at_{TOP}": 0.75}
    paired = found["all"]["paired"]["first_seen_minus_first_without"][f"hr_at_{TOP}"]
    assert paired["difference"] == 1.0


@pytest.mark.parametrize(("item", "share"), [(3, "in_catalogue"), (2, "not_seen_before")])
def test_what_is_not_in_the_catalogue_or_was_seen_is_counted(item: int, share: str) -> None:
    whole = summary()
    assert whole["in_catalogue"] == whole["not_seen_before"] == 1.0
    assert summary(first_seen=[[item], [1]])[share] == pytest.approx(11 / 12)


def test_an_empty_list_is_a_miss() -> None:
    found = summary(first_seen=[[], [2]])
    assert found["all"]["turns"]["first_seen"] == dict(zip(METRICS, (0.5, 0.5, 0.5), strict=True))
