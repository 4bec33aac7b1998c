"""A user's CF vector from the items of a history, without refitting: the exact ALS closed form."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ilm.errors import DataError

_CHUNK = 256
"""Users solved at once; bounds the memory to _CHUNK * d * d * 8 bytes."""


class UserFoldIn:
    """Solve for user vectors with the item vectors held fixed.

    Hu, Koren, Volinsky 2008, equation 4: x_u = (Y'Y + Y'(C_u - I)Y + lambda I)^-1 Y' C_u p_u, with preference
    p = 1 and confidence c = 1 + alpha for the items of the history, p = 0 and c = 1 for all others.
    A history is a set: its order and repetitions do not matter, as in the binary matrix that `ilm.cf.als` fits.
    """

    def __init__(self, item_factors: NDArray[np.float32], regularization: float, alpha: float) -> None:
        """Prepare for many calls.

        Args:
            item_factors: [n_items, d], Y.
            regularization: lambda, > 0.
            alpha: confidence of an observed interaction above that of an unobserved one, > 0.
        """
        if not regularization > 0 or not alpha > 0:
            raise ValueError(f"regularization ({regularization}) and alpha ({alpha}) must be positive")
        self._item_factors = item_factors.astype(np.float64)  # a 64 x 64 system in float32 loses half its digits
        self._alpha = alpha
        known = self._item_factors[item_factors.any(axis=1)]  # zeros add nothing, but how many there are rounds the sum
        self._gram = known.T @ known + regularization * np.eye(item_factors.shape[1])  # [d, d]

    def __call__(self, histories: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """User vectors [batch, d]; an empty history gives zeros. A row does not depend on the rest of the batch.

        Raises:
            DataError: a history names an item_index outside the item factors.
        """
        n_items, width = self._item_factors.shape
        users = np.zeros((len(histories), width), dtype=np.float32)
        for start in range(0, len(histories), _CHUNK):
            chunk = histories[start : start + _CHUNK]
            left = np.empty((len(chunk), width, width))
            right = np.empty((len(chunk), width, 1))
            for row, history in enumerate(chunk):
                items = np.unique(np.asarray(history, dtype=np.int64))
                if items.size and (items[0] < 0 or items[-1] >= n_items):
                    raise DataError(
                        f"history {start + row}: item_index {items[0] if items[0] < 0 else items[-1]} is outside the "
                        f"{n_items:,} item factors. The history and the factors come from different id maps."
                    )
                liked = self._item_factors[items]  # [items, d]
                left[row] = self._gram + self._alpha * (liked.T @ liked)
                right[row, :, 0] = (1.0 + self._alpha) * liked.sum(axis=0)
            users[start : start + len(chunk)] = np.linalg.solve(left, right)[:, :, 0]
        return users
