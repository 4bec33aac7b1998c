"""The five users of the report: chosen and asked by rules that know nothing of the outcome, judged by hand."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from ilm.eval.protocol import Cases
from ilm.prompts.attributes import attributes
from ilm.prompts.catalogue import Catalogue
from ilm.prompts.example import Example
from ilm.report.showcase import PLAN, Showcase, even_cases

ITEMS = 40
TITLES = [f"Tale {item} ({1980 + item})" for item in range(ITEMS)]
GENRES = ["Drama, War" if item % 2 else "Comedy" for item in range(ITEMS)]


class ByIndex:
    """Prefers items with a high index, whatever is said. Remembers the conversations."""

    def __init__(self) -> None:
        self.heard: list[Example] = []

    def score(self, task: str, histories: list[np.ndarray]) -> np.ndarray:
        assert task == "sequential"
        return np.tile(np.arange(ITEMS, dtype=np.float32), (len(histories), 1))

    def score_examples(self, examples: list[Example]) -> np.ndarray:
        self.heard += examples
        return self.score("sequential", [example.profile for example in examples])


def make_cases(users: int = 23) -> Cases:
    seen = [np.array([user % 5, 10 + user % 3, 21], np.int32) for user in range(users)]
    return Cases(np.arange(100, 100 + users, dtype=np.int32), np.full(users, 36, np.int32), seen, seen)


def showcase(ranker: ByIndex | None = None, candidates: list[int] | None = None, **columns: list[str]) -> Showcase:
    table = {"item_index": range(ITEMS), "title": TITLES, "active": [True] * ITEMS, **(columns or {"genres": GENRES})}
    known = attributes(pa.table(table))
    allowed = np.zeros(ITEMS, bool)
    allowed[range(ITEMS) if candidates is None else candidates] = True
    directions = np.stack([np.cos(np.arange(ITEMS) / 60), np.sin(np.arange(ITEMS) / 60)], axis=1).astype(np.float32)
    catalogue = Catalogue([f"i{item}" for item in range(ITEMS)], known.titles, known.active)
    return Showcase(ranker or ByIndex(), catalogue, known, directions, allowed)


def test_users_stand_at_even_distances_first_and_last_among_them() -> None:
    assert even_cases(make_cases(23)).user_index.tolist() == [100, 106, 111, 116, 122]


@pytest.mark.parametrize("count", [1, 3, 5])
def test_few_users_are_all_shown(count: int) -> None:
    assert even_cases(make_cases(count)).user_index.tolist() == list(range(100, 100 + count))


def test_recommendations_and_rank_are_those_of_the_evaluation() -> None:
    user = showcase().users(make_cases())[1]
    assert user["user"] == 106
    assert user["history"] == [TITLES[1], TITLES[10], TITLES[21]]
    assert user["recommended"] == [TITLES[item] for item in (39, 38, 37, 36, 35)]
    assert (user["held_out"], user["rank"]) == (TITLES[36], 4)


def test_held_out_item_that_nobody_may_recommend_has_no_rank() -> None:
    user = showcase(candidates=[0, 1, 2, 3, 30, 31]).users(make_cases())[0]
    assert user["rank"] is None
    assert user["recommended"] == [TITLES[item] for item in (31, 30, 3, 2, 1)]


def test_held_out_item_changes_nothing_but_its_rank() -> None:
    cases = make_cases()
    other = showcase().users(replace(cases, targets=np.full_like(cases.targets, 2)))
    for one, two in zip(showcase().users(cases), other, strict=True):
        assert one | {"rank": 0, "held_out": ""} == two | {"rank": 0, "held_out": ""}
        assert one["rank"] != two["rank"]


SEEN = np.array([1, 3, 10], np.int32)
"""Two with Drama and War, one Comedy; two of the 1980s, one of the 1990s."""


@pytest.mark.parametrize(
    ("number", "first", "second"),
    [
        (0, "Recommend Drama.", "Something older, please."),
        (1, "I want something from the 1980s.", "Something newer, please."),
        (2, "Suggest Drama from the 1980s.", "Rather War, please."),
        (3, "Recommend something like Tale 10 (1990).", "Something older, please."),
        (4, "I want Drama like Tale 10 (1990).", "Something newer, please."),
    ],
)
def test_wishes_follow_from_the_plan_and_the_history(number: int, first: str, second: str) -> None:
    assert [turn["ask"] for turn in showcase().conversation(number, SEEN)] == [first, second]
    assert len(PLAN) == 5


def test_answers_are_judged_item_by_item_beside_the_share_of_the_catalogue() -> None:
    first, second = showcase().conversation(0, SEEN)
    assert first["answer"].splitlines()[0] == "Try Tale 39 (2019). Genres: Drama, War."
    assert first["wishes"] == [{"wish": "Drama", "fulfilled": [True, False, True], "share": 0.5}]
    assert [line.split(" (")[0] for line in second["answer"].splitlines()] == [
        "Try Tale 36",
        "Or Tale 35",
        "Or Tale 34",
    ]
    assert second["wishes"] == [{"wish": "older than 2019", "fulfilled": [True] * 3, "share": 39 / 40}]


def test_every_wish_of_a_message_is_judged() -> None:
    drama, decade = showcase().conversation(2, SEEN)[0]["wishes"]
    assert (drama["wish"], decade["wish"]) == ("Drama", "from the 1980s")
    assert decade == {"wish": "from the 1980s", "fulfilled": [False] * 3, "share": 0.25}


def test_model_hears_the_whole_conversation_and_the_history() -> None:
    ranker = ByIndex()
    showcase(ranker).conversation(0, SEEN)
    assert [len(example.turns) for example in ranker.heard] == [1, 2]
    assert "Tale 39" in "".join(piece for piece in ranker.heard[1].turns[0].answer if isinstance(piece, str))
    assert all(example.profile.tolist() == SEEN.tolist() for example in ranker.heard)


def test_catalogue_that_knows_nothing_is_asked_for_something() -> None:
    bare = showcase(title=["Tale"] * ITEMS)
    assert [turn["ask"] for turn in bare.conversation(2, SEEN)] == ["Suggest something.", "Something else, please."]
    assert all(turn["wishes"] == [] for turn in bare.conversation(2, SEEN))


def test_user_without_a_history_is_asked_for_nothing_in_particular() -> None:
    turns = showcase().conversation(4, np.zeros(0, np.int32))
    assert turns[0] == {"ask": "I want something.", "answer": turns[0]["answer"], "wishes": []}
