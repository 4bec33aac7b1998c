"""The recommender object: lookups, exclusions, and one clear message for each mistake."""

import numpy as np
import pytest

from ilm.errors import LookupFailed
from ilm.serve.recommender import RecommenderService

TITLES = ["Heat (1995)", "Ronin (1998)", "Heat (1986)", "Twin (1)", "Twin (1)", "Gone (2000)"]


class FixedScores:
    """Scores item i at i, and remembers what it was asked."""

    def score(self, task, histories):
        self.asked = (task, [list(history) for history in histories])
        return np.tile(np.arange(len(TITLES), dtype=np.float32), (len(histories), 1))


@pytest.fixture
def ranker():
    return FixedScores()


@pytest.fixture
def service(ranker):
    active = np.array([True, True, True, True, True, False])
    histories = {"alice": np.array([4, 2], np.int32), "bob": np.array([0], np.int32)}
    return RecommenderService(ranker, [f"i{index}" for index in range(len(TITLES))], TITLES, active, histories)


def test_best_first_without_seen_and_without_inactive_items(service):
    assert [r.item_id for r in service.recommend(user_id="alice", k=10)] == ["i3", "i1", "i0"]


def test_seen_items_may_be_kept(service):
    assert [r.item_id for r in service.recommend(user_id="alice", k=2, exclude_seen=False)] == ["i4", "i3"]


def test_history_is_found_by_title_in_any_case_or_by_id_in_the_given_order(service, ranker):
    service.recommend(history=["RONIN (1998)", "i4", "heat (1995)"], k=1)
    assert ranker.asked == ("sequential", [[1, 4, 0]])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"user_id": "alicia"}, r"'alicia'.*near: alice"),
        ({"history": ["Heat (1996)"]}, r"Did you mean 'Heat \(1995\)' or 'Heat \(1986\)'"),
        ({"history": ["ronin"]}, r"Did you mean 'Ronin \(1998\)'"),
        ({"history": ["zzzzz"]}, "no item has the title"),
        ({"history": ["Gone (2000)"]}, "no item has the title"),
        ({"history": ["Twin (1)"]}, "title of 2 items.*i3, i4"),
        ({"user_id": "bob", "k": 0}, "at least 1"),
        ({}, "either a user id or a history"),
        ({"user_id": "bob", "history": ["i0"]}, "not both"),
        ({"history": []}, "either a user id or a history"),
    ],
)
def test_a_mistake_gets_one_message_that_helps(service, request_, message):
    with pytest.raises(LookupFailed, match=message):
        service.recommend(**request_)
