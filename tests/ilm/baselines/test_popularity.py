"""Popularity as a recommender."""

import numpy as np

from ilm.baselines.popularity import Popularity


def test_popularity_scores_train_counts_for_everybody() -> None:
    histories = [np.array(items, np.int32) for items in ([0], [1, 2])]
    scores = Popularity(np.array([3, 0, 7])).score("sequential", histories)
    assert scores.tolist() == [[3, 0, 7], [3, 0, 7]]
