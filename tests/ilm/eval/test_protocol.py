"""Full-catalogue ranks: against a brute-force stable sort, and every refusal."""

import weakref
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilm.errors import ArtifactError, DataError
from ilm.eval.metrics import MISSED, per_user
from ilm.eval.protocol import TOP, Cases, target_ranks


class Fixed:
    """Returns prepared scores, row by row, and remembers the sizes of its batches."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores, self.position, self.batches = scores, 0, []

    def score(self, task: str, histories: Sequence[np.ndarray]) -> np.ndarray:
        rows = self.scores[self.position : self.position + len(histories)]
        self.position += len(histories)
        self.batches.append(len(histories))
        return rows


def make_cases(targets: list[int], seen: list[list[int]]) -> Cases:
    histories = [np.array(items, np.int32) for items in seen]
    return Cases(np.arange(len(targets), dtype=np.int32), np.array(targets, np.int32), histories, histories)


def rank(scores: list[list[float]], targets: list[int], seen: list[list[int]], others: Sequence[int] = ()):
    """All items are candidates, but for the `others`."""
    matrix = np.array(scores, np.float32)
    candidates = ~np.isin(np.arange(matrix.shape[1]), others)
    return target_ranks(Fixed(matrix), "sequential", make_cases(targets, seen), candidates, batch_size=2)


def test_filtered_removes_seen_items_and_unfiltered_keeps_them() -> None:
    ranking = rank([[9, 8, 7, 6]], targets=[2], seen=[[0]])
    assert (ranking.filtered[0], ranking.unfiltered[0]) == (2, 3)
    assert ranking.top[0].tolist() == [1, 2, 3] + [-1] * (TOP - 3)


def test_target_seen_before_still_competes_but_is_not_recommended() -> None:
    ranking = rank([[9, 8, 7]], targets=[1], seen=[[0, 1]])
    assert (ranking.filtered[0], ranking.unfiltered[0]) == (1, 2)
    assert ranking.top[0, :2].tolist() == [2, -1]


def test_only_candidates_are_ranked() -> None:
    ranking = rank([[9, 8, 7]], targets=[2], seen=[[]], others=[0])
    assert (ranking.filtered[0], ranking.unfiltered[0]) == (2, 2)
    assert 0 not in ranking.top[0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_not_finite_scores_of_other_items_do_not_matter(bad: float) -> None:
    assert rank([[bad, 8, 7]], targets=[2], seen=[[]], others=[0]).filtered[0] == 2


def test_target_that_is_no_candidate_is_missed_and_not_left_out() -> None:
    ranking = rank([[9, 8, 7], [9, 8, 7]], targets=[0, 1], seen=[[], []], others=[0])
    assert ranking.filtered.tolist() == ranking.unfiltered.tolist() == [MISSED, 1]
    assert per_user(ranking.filtered)["hr_at_10"].tolist() == [0, 1]
    assert ranking.top[0, :3].tolist() == [1, 2, -1]


def test_equal_scores_are_ordered_by_smaller_index() -> None:
    ranking = rank([[5, 5, 5], [5, 5, 5], [5, 5, 5]], targets=[0, 1, 2], seen=[[], [], []])
    assert ranking.filtered.tolist() == [1, 2, 3]
    assert ranking.top[:, :3].tolist() == [[0, 1, 2]] * 3


def test_zero_and_minus_zero_are_equal_scores() -> None:
    assert rank([[-0.0, 0.0, -0.0]], targets=[2], seen=[[]]).top[0, :3].tolist() == [0, 1, 2]


def test_scores_that_differ_by_the_least_possible_are_told_apart() -> None:
    scores = [[one := np.float32(1), np.nextafter(one, np.float32(2)), tiny := np.float32(-1e-45), 2 * tiny]]
    assert rank(scores, targets=[0], seen=[[]]).top[0, :4].tolist() == [1, 0, 2, 3]


@st.composite
def situations(draw: st.DrawFn):
    users, items = draw(st.integers(1, 6)), draw(st.integers(2, 14))
    cells = st.lists(st.integers(-2, 2), min_size=items, max_size=items)  # few values: many ties
    scores = draw(st.lists(cells, min_size=users, max_size=users))
    item = st.integers(0, items - 1)
    targets = draw(st.lists(item, min_size=users, max_size=users))
    seen = draw(st.lists(st.lists(item, max_size=6), min_size=users, max_size=users))
    others = set(draw(st.lists(item, max_size=4))) - {draw(item)}
    return np.array(scores, np.float32), targets, seen, sorted(others), draw(st.integers(1, 7))


@settings(max_examples=150, deadline=None)
@given(situations())
def test_ranks_and_lists_equal_a_stable_sort(situation) -> None:
    scores, targets, seen, others, batch_size = situation
    candidates = ~np.isin(np.arange(scores.shape[1]), others)
    ranking = target_ranks(Fixed(scores), "sequential", make_cases(targets, seen), candidates, batch_size)
    for row, target in enumerate(targets):
        order = [i for i in np.argsort(-scores[row], kind="stable") if candidates[i]]
        left = [i for i in order if i == target or i not in seen[row]]
        found = (left.index(target) + 1, order.index(target) + 1) if target in order else (MISSED, MISSED)
        assert (ranking.filtered[row], ranking.unfiltered[row]) == found
        listed = [i for i in order if i not in seen[row]][:TOP]
        assert ranking.top[row].tolist() == listed + [-1] * (TOP - len(listed))


def test_batches_do_not_change_the_answer() -> None:
    rng = np.random.default_rng(0)
    scores, targets = rng.normal(size=(50, 30)).astype(np.float32), rng.integers(0, 30, 50).tolist()
    cases = make_cases(targets, [rng.integers(0, 30, rng.integers(0, 9)).tolist() for _ in targets])
    whole, parts = (target_ranks(Fixed(scores), "t", cases, np.ones(30, bool), batch_size) for batch_size in (50, 7))
    for name in ("filtered", "unfiltered", "top"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_each_batch_is_scored_once_and_no_case_is_dropped() -> None:
    recommender = Fixed(np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32))
    ranking = target_ranks(recommender, "sequential", make_cases([0] * 5, [[1]] * 5), np.ones(4, bool), batch_size=2)
    assert recommender.batches == [2, 2, 1]
    assert len(ranking.filtered) == len(ranking.unfiltered) == len(ranking.top) == 5


class Watched:
    """Remembers how many rows it was asked for, and whether its last answer was still in memory then."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.kept: list[bool] = []
        self.last: Callable[[], object] = lambda: None

    def score(self, task: str, histories: Sequence[np.ndarray]) -> np.ndarray:
        self.kept.append(self.last() is not None)
        self.rows.append(len(histories))
        scores = np.zeros((len(histories), 40), np.float32)
        self.last = weakref.ref(scores)
        return scores


def test_users_times_items_are_never_in_memory_at_once() -> None:
    """Never more rows than a batch are asked for, and they are gone before the next ones; what is left is the ranks."""
    watched = Watched()
    cases = make_cases([1] * 100, [[0, 2]] * 100)
    ranking = target_ranks(watched, "sequential", cases, np.ones(40, bool), batch_size=8)
    assert max(watched.rows) == 8 and sum(watched.rows) == 100
    assert watched.last() is None and not any(watched.kept)
    assert sum(part.nbytes for part in vars(ranking).values()) == 100 * (2 + TOP) * 4


def test_scores_of_the_recommender_are_not_changed() -> None:
    scores = np.ones((1, 3), np.float32)
    scores.flags.writeable = False
    target_ranks(Fixed(scores), "sequential", make_cases([2], [[0]]), np.ones(3, bool), batch_size=4)
    assert scores.tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_not_finite_score_is_refused(bad: float) -> None:
    with pytest.raises(ArtifactError, match="NaN or infinite"):
        rank([[1, bad, 0]], targets=[0], seen=[[1]], others=[2])


def test_scores_of_another_catalogue_are_refused() -> None:
    with pytest.raises(ArtifactError, match=r"scores are \(1, 3\) for 1 users and 4 items"):
        target_ranks(Fixed(np.ones((1, 3))), "sequential", make_cases([0], [[]]), np.ones(4, bool), batch_size=2)


def test_nothing_to_recommend_is_refused() -> None:
    with pytest.raises(DataError, match="no item may be recommended"):
        rank([[1, 2, 3]], targets=[1], seen=[[]], others=[0, 1, 2])


@pytest.mark.parametrize(("target", "seen"), [(3, 0), (-1, 0), (0, 3), (0, -1)])
def test_item_outside_the_catalogue_is_refused(target: int, seen: int) -> None:
    with pytest.raises(DataError, match="not in the catalogue of 3 items"):
        rank([[1, 2, 3]], targets=[target], seen=[[seen]])


def test_no_cases_are_refused() -> None:
    with pytest.raises(DataError, match="lengths"):
        rank([[1, 2, 3]], targets=[], seen=[])


def test_cases_of_different_length_are_refused() -> None:
    with pytest.raises(DataError, match="lengths"):
        rank([[1, 2, 3]], targets=[0], seen=[[], []])
