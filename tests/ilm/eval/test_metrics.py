"""HR, NDCG and MRR: by hand, and against trec_eval, ties, seen items and missed targets included."""

from collections.abc import Sequence

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from ilm.eval.metrics import METRICS, MISSED, hr_at_k, means, ndcg_at_k, per_user, reciprocal_rank
from ilm.eval.protocol import Cases, target_ranks

RANKS = np.array([1, 3, 5, 6, 10, 11, MISSED], np.int32)
OF_TREC_EVAL = {
    "hr_at_5": "success_5",
    "hr_at_10": "success_10",
    "ndcg_at_5": "ndcg_cut_5",
    "ndcg_at_10": "ndcg_cut_10",
    "mrr": "recip_rank",
}


def test_hit_rate_by_hand() -> None:
    assert hr_at_k(RANKS, 5).tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert hr_at_k(RANKS, 10).tolist() == [1, 1, 1, 1, 1, 0, 0]


def test_ndcg_by_hand() -> None:
    assert ndcg_at_k(RANKS, 5) == pytest.approx([1, 0.5, 1 / np.log2(6), 0, 0, 0, 0])


def test_reciprocal_rank_by_hand() -> None:
    assert reciprocal_rank(RANKS) == pytest.approx([1, 1 / 3, 1 / 5, 1 / 6, 1 / 10, 1 / 11, 0])


def test_missed_target_is_worth_exactly_nothing_in_every_metric() -> None:
    assert set(means(np.array([MISSED], np.int32)).values()) == {0.0}


def test_ndcg_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.arange(40.0), (200, 1)), axis=1)
    targets = rng.integers(0, 40, 200)
    relevance = np.eye(40)[targets]
    ranks = (1 + (scores > scores[np.arange(200), targets][:, None]).sum(axis=1)).astype(np.int32)
    for k in (5, 10):
        assert ndcg_at_k(ranks, k).mean() == pytest.approx(ndcg_score(relevance, scores, k=k))


class Given:
    def __init__(self, scores: np.ndarray) -> None:
        self.scores = scores

    def score(self, task: str, histories: Sequence[np.ndarray]) -> np.ndarray:
        return self.scores


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 5, 1000]))
def test_ranks_and_metrics_of_every_user_agree_with_trec_eval(seed: int, levels: int) -> None:
    """Few levels: many ties. trec_eval puts the later name first among equal scores, hence the names."""
    rng = np.random.default_rng(seed)
    users, items = 12, 40
    scores = rng.integers(0, levels, (users, items)).astype(np.float32) - levels // 2
    targets, candidates = rng.integers(0, items, users).astype(np.int32), rng.random(items) < 0.8
    candidates[0] = True
    seen = [np.setdiff1d(rng.integers(0, items, rng.integers(0, 30)), [target]).astype(np.int32) for target in targets]
    cases = Cases(np.arange(users, dtype=np.int32), targets, seen, seen)
    ours = per_user(target_ranks(Given(scores), "sequential", cases, candidates, batch_size=users).filtered)

    def name(item: int) -> str:
        return f"{items - item:03}"

    judged = {str(user): {name(target): 1} for user, target in enumerate(targets)}
    listed = {
        str(user): {name(item): float(row[item]) for item in np.flatnonzero(candidates) if item not in seen[user]}
        for user, row in enumerate(scores)
    }
    theirs = pytrec_eval.RelevanceEvaluator(judged, {"success", "ndcg_cut", "recip_rank"}).evaluate(
        {user: items or {"nothing": 0.0} for user, items in listed.items()}
    )
    assert len(theirs) == users
    for metric, of_trec_eval in OF_TREC_EVAL.items():
        assert ours[metric] == pytest.approx([theirs[str(user)][of_trec_eval] for user in range(users)])


def test_means_have_exactly_the_names_of_the_metrics_file() -> None:
    assert METRICS == ("hr_at_5", "hr_at_10", "ndcg_at_5", "ndcg_at_10", "mrr")
    assert means(RANKS) == {name: pytest.approx(values.mean()) for name, values in per_user(RANKS).items()}
    assert tuple(means(RANKS)) == METRICS == tuple(OF_TREC_EVAL)


@pytest.mark.parametrize("ranks", [[], [0, 1], [[1, 2]]])
def test_impossible_ranks_are_refused(ranks: list) -> None:
    with pytest.raises(ValueError, match="ranks must be"):
        means(np.array(ranks, np.int32))
