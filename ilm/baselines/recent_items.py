"""The strongest recommender we know of that is not trained: what is like the latest items, by their ALS vectors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilm.baselines.histories import history_matrix


class RecentItems:
    """Scores an item by the cosine of its vector and a recency-weighted mean of the history's, plus log popularity."""

    def __init__(
        self,
        item_factors: NDArray[np.float32],
        train_counts: NDArray[np.int64],
        decay: float = 0.3,
        popularity_weight: float = 0.03,
    ) -> None:
        """Prepare for many calls. The defaults were chosen on the valid part of the built-in data.

        Args:
            item_factors: [n_items, d] ALS vectors; those of zeros are like nothing.
            train_counts: [n_items] interactions per item of the train part.
            decay: share of its weight that an item of the history loses with each later one, in [0, 1).
            popularity_weight: what log(1 + count) adds to a cosine.
        """
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay must be in [0, 1), not {decay}")
        self._directions = _unit(item_factors)
        self._decay = decay
        self._popularity = (popularity_weight * np.log1p(train_counts)).astype(np.float32)

    def score(self, task: str, histories: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Scores [batch, n_items]; the task does not matter. An empty history is left with popularity."""
        weights = history_matrix(histories, len(self._directions), self._decay)
        profiles = _unit(weights @ self._directions)  # [batch, d]; a mean's length does not matter to the cosine
        scores: NDArray[np.float32] = profiles.astype(np.float32) @ self._directions.T
        scores += self._popularity
        return scores


def _unit(vectors: NDArray[Any]) -> NDArray[Any]:
    """Rows of length 1; rows of zeros stay so."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: NDArray[Any] = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return units
