"""ALS as a recommender."""

import numpy as np
import pytest

from ilm.baselines.als import Als
from ilm.cf.als import fit
from ilm.params import CfParams


def histories(*rows: list[int]) -> list[np.ndarray]:
    return [np.array(row, np.int32) for row in rows]


@pytest.fixture
def als() -> Als:
    """Two blocks: users 0-5 take items 0-4, users 6-11 take items 5-9; each user misses one of them."""
    pairs = np.array([(u, i) for u in range(12) for i in range(10) if u // 6 == i // 5 and i % 5 != u % 5])
    users, items = pairs.T.astype(np.int32)
    params = CfParams(factors=2, iterations=15)
    fitted = fit(users, items, n_users=12, n_items=10, params=params, item_map_hash="i", user_map_hash="u")
    return Als(fitted.factors)


def test_als_finds_the_block_of_a_history_it_never_saw(als: Als) -> None:
    scores = als.score("sequential", histories([0, 1], [8, 6]))
    assert set(np.argsort(-scores[0])[:5]) == {0, 1, 2, 3, 4}
    assert set(np.argsort(-scores[1])[:5]) == {5, 6, 7, 8, 9}


def test_als_knows_nothing_of_an_empty_history(als: Als) -> None:
    assert not als.score("sequential", histories([])).any()
