"""Matrix factorisation without a language model."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ilm.cf.factors import Factors
from ilm.cf.fold_in import UserFoldIn


class Als:
    """Scores by the inner product of ALS vectors, the user's folded in from the history given."""

    def __init__(self, factors: Factors) -> None:
        """Use the item vectors and the settings they were fitted with."""
        self._item_factors = factors.item_factors
        self._fold_in = UserFoldIn(factors.item_factors, factors.regularization, factors.alpha)

    def score(self, task: str, histories: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Scores [batch, n_items]; the task does not matter, nor the order of a history."""
        return self._fold_in(histories) @ self._item_factors.T
