"""Recent items: cosines by hand."""

import numpy as np
import pytest

from ilm.baselines.recent_items import RecentItems

FACTORS = np.array([[2, 0], [0, 3], [0.5, 0.5], [0, 0]], np.float32)
COUNTS = np.array([3, 0, 7, 0])


def lists(*rows: list[int]) -> list[np.ndarray]:
    return [np.array(row, np.int32) for row in rows]


def test_score_is_the_cosine_to_the_decayed_mean_of_directions_plus_log_popularity() -> None:
    scores = RecentItems(FACTORS, COUNTS, decay=0.25, popularity_weight=0.1).score("sequential", lists([0, 1, 1]))
    profile = np.array([0.5625, 1.75]) / np.hypot(0.5625, 1.75)  # 0.75² of item 0; 0.75 + 1 of item 1
    cosines = [profile[0], profile[1], profile.sum() / 2**0.5, 0]
    np.testing.assert_allclose(scores[0], cosines + 0.1 * np.log([4, 1, 8, 1]), rtol=1e-6)


def test_the_latest_item_matters_most() -> None:
    recent = RecentItems(FACTORS, COUNTS, decay=0.5, popularity_weight=0)
    scores = recent.score("sequential", lists([0, 1], [1, 0]))
    assert scores[0, 1] > scores[0, 0]
    assert scores[1, 0] > scores[1, 1]


def test_without_a_known_item_popularity_is_left() -> None:
    scores = RecentItems(FACTORS, COUNTS, popularity_weight=1.0).score("sequential", lists([], [3]))
    np.testing.assert_allclose(scores, [np.log1p(COUNTS)] * 2, rtol=1e-6)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_decay_that_is_no_share_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        RecentItems(FACTORS, COUNTS, decay=decay)
