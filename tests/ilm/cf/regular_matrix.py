"""A matrix on which two objectives are one: all users have met four items, all items eight users."""

import numpy as np
from scipy.sparse import csr_matrix

from ilm.cf.fold_in import UserFoldIn

SETTINGS = {"factors": 3, "regularization": 1.0, "alpha": 4.0, "iterations": 200}


def regular_matrix() -> csr_matrix:
    """[24, 12]: user u has met the items u to u + 3, counted around."""
    users = np.repeat(np.arange(24), 4)
    return csr_matrix((np.ones(96, np.float32), (users, (users + np.tile(np.arange(4), 24)) % 12)), shape=(24, 12))


def from_item_vectors(item_factors: np.ndarray) -> np.ndarray:
    """[12, d] what one iteration of `implicit` makes of the item vectors: the same, where they are its solution."""
    users = half(item_factors.astype(np.float32), regular_matrix())
    return half(users, regular_matrix().T.tocsr())


def half(vectors: np.ndarray, matrix: csr_matrix, regularization: float = SETTINGS["regularization"]) -> np.ndarray:
    """Vectors of the rows, solved exactly from those of the columns."""
    return UserFoldIn(vectors, regularization, SETTINGS["alpha"])(np.split(matrix.indices, matrix.indptr[1:-1]))
