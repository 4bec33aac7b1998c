"""HR and NDCG: by hand, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from ilm.eval.metrics import METRICS, hr_at_k, means, ndcg_at_k, per_user

RANKS = np.array([1, 3, 5, 6, 10, 11], np.int32)


def test_hit_rate_by_hand() -> None:
    assert hr_at_k(RANKS, 5).tolist() == [1, 1, 1, 0, 0, 0]
    assert hr_at_k(RANKS, 10).tolist() == [1, 1, 1, 1, 1, 0]


def test_ndcg_by_hand() -> None:
    assert ndcg_at_k(RANKS, 5) == pytest.approx([1, 0.5, 1 / np.log2(6), 0, 0, 0])


def test_ndcg_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.arange(40.0), (200, 1)), axis=1)
    targets = rng.integers(0, 40, 200)
    relevance = np.eye(40)[targets]
    ranks = (1 + (scores > scores[np.arange(200), targets][:, None]).sum(axis=1)).astype(np.int32)
    for k in (5, 10):
        assert ndcg_at_k(ranks, k).mean() == pytest.approx(ndcg_score(relevance, scores, k=k))


def test_means_have_exactly_the_names_of_the_metrics_file() -> None:
    assert METRICS == ("hr_at_5", "hr_at_10", "ndcg_at_5", "ndcg_at_10")
    assert means(RANKS) == {name: pytest.approx(values.mean()) for name, values in per_user(RANKS).items()}
    assert tuple(means(RANKS)) == METRICS


@pytest.mark.parametrize("ranks", [[], [0, 1], [[1, 2]]])
def test_impossible_ranks_are_refused(ranks: list) -> None:
    with pytest.raises(ValueError, match="ranks must be"):
        means(np.array(ranks, np.int32))
