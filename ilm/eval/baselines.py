"""The systems that any model has to beat: what everybody takes, and matrix factorisation without a language model."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ilm.cf.factors import Factors
from ilm.cf.fold_in import UserFoldIn


class Popularity:
    """Scores an item by its number of train interactions, the same for everybody."""

    def __init__(self, train_counts: NDArray[np.int64]) -> None:
        """Take the interactions per item [n_items] of the train part."""
        self._scores = train_counts.astype(np.float32)

    def score(self, task: str, histories: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Scores [batch, n_items]; read-only. Task and histories do not matter."""
        return np.broadcast_to(self._scores, (len(histories), len(self._scores)))


class Als:
    """Scores by the inner product of ALS vectors, the user's folded in from the history given."""

    def __init__(self, factors: Factors) -> None:
        """Use the item vectors and the settings they were fitted with."""
        self._item_factors = factors.item_factors
        self._fold_in = UserFoldIn(factors.item_factors, factors.regularization, factors.alpha)

    def score(self, task: str, histories: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Scores [batch, n_items]; the task does not matter, nor the order of a history."""
        return self._fold_in(histories) @ self._item_factors.T
