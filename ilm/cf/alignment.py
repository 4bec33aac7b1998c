"""Two fits of one catalogue in the same coordinates: the rotation between them, and how alike they are afterwards.

ALS finds vectors up to a rotation: scores are inner products, which no rotation changes. Another fit therefore means
the same by other numbers, and what has learned to read the old numbers cannot read the new ones. Orthogonal Procrustes
(Schönemann 1966) finds the rotation that brings them back; items and users are rotated together.
"""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def rotation(vectors: Vectors, onto: Vectors) -> NDArray[np.float64]:
    """The orthogonal matrix R [d, d] that minimises |vectors @ R - onto|, over rows that both have.

    Raw lengths count: a vector that was learned from few interactions is short and uncertain, and says little here.

    Args:
        vectors: [m, d].
        onto: [m, d], row by row the same items.
    """
    left, _, right = np.linalg.svd(vectors.astype(np.float64).T @ onto.astype(np.float64))
    out: NDArray[np.float64] = left @ right
    return out


def rotated(vectors: Vectors, matrix: NDArray[np.float64]) -> Vectors:
    """vectors @ matrix [n, d], in the precision that they are kept in; zeros stay exact zeros."""
    out: Vectors = (vectors.astype(np.float64) @ matrix).astype(np.float32)
    return out


def mean_cosine(left: Vectors, right: Vectors) -> float:
    """Mean over rows [m, d] of the cosine between the two."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(((left * right).sum(axis=1) / lengths).mean())


def neighbour_overlap(left: Vectors, right: Vectors, neighbours: int, most: int = 2000) -> float:
    """Mean share of a row's nearest neighbours (by cosine, among these rows) that it has in both. No rotation counts.

    Args:
        left: [m, d].
        right: [m, d].
        neighbours: how many, at least 1.
        most: rows that are looked at, evenly spaced; bounds the time.
    """
    rows = np.unique(np.linspace(0, len(left) - 1, min(most, len(left))).astype(np.int64))
    neighbours = min(neighbours, len(left) - 1)
    if neighbours < 1:
        return 1.0
    of_left, of_right = (_nearest(vectors, rows, neighbours) for vectors in (left, right))
    return float((of_left[:, :, None] == of_right[:, None, :]).any(axis=2).mean())


def _nearest(vectors: Vectors, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """[r, count] nearest others of the rows; in chunks, so that memory does not grow with their square."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = []
    for start in range(0, len(rows), 256):
        chunk = rows[start : start + 256]
        cosines = unit[chunk] @ unit.T
        cosines[np.arange(len(chunk)), chunk] = -np.inf
        found.append(np.argpartition(-cosines, count - 1, axis=1)[:, :count])
    return np.concatenate(found)
