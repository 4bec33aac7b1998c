"""What ALS makes small, as `implicit` reports it: for backends that do not report it themselves."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_CHUNK = 1 << 20
"""Interactions looked at together; bounds the memory to _CHUNK * d * 8 bytes, twice."""


def training_loss(
    user_items: "csr_matrix",
    user_factors: NDArray[np.float32],
    item_factors: NDArray[np.float32],
    regularization: float,
    alpha: float,
) -> float:
    """Hu, Koren, Volinsky 2008, equation 3, divided by the sum of all confidences c.

    sum over all pairs of c (p - x'y)^2, plus lambda times the squared lengths of all x and y; p = 1 and c = 1 + alpha
    for an interaction, p = 0 and c = 1 for any other pair.

    Args:
        user_items: [k, m], 1.0 where the user has the item.
        user_factors: [k, d].
        item_factors: [m, d].
        regularization: lambda.
        alpha: confidence of an interaction above that of any other pair.
    """
    users, items = user_factors.astype(np.float64), item_factors.astype(np.float64)
    user_gram, item_gram = users.T @ users, items.T @ items
    total = float((user_gram * item_gram).sum())  # of the squared scores of all pairs
    total += regularization * float(np.trace(user_gram) + np.trace(item_gram))
    rows = np.repeat(np.arange(user_items.shape[0]), np.diff(user_items.indptr))
    for begin in range(0, user_items.nnz, _CHUNK):
        part = slice(begin, begin + _CHUNK)
        scores = (users[rows[part]] * items[user_items.indices[part]]).sum(axis=1)
        total += float(((1.0 + alpha) * (1.0 - scores) ** 2 - scores**2).sum())
    n_users, n_items = user_items.shape
    return float(total / (n_users * n_items + alpha * user_items.nnz))
