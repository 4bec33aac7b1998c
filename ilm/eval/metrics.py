"""Hit rate, NDCG and reciprocal rank from the rank of one held-out target per user."""

import numpy as np
from numpy.typing import NDArray

CUTOFFS = (5, 10)
METRICS = (*(f"{name}_at_{k}" for name in ("hr", "ndcg") for k in CUTOFFS), "mrr")
MISSED = int(np.iinfo(np.int32).max)
"""The rank of a target that is not among the candidates: behind every list, worth 0 in every metric."""


def hr_at_k(ranks: NDArray[np.int32], k: int) -> NDArray[np.float64]:
    """Per user [n]: 1 if the target is among the first k, else 0. Ranks start at 1."""
    return (_checked(ranks) <= k).astype(np.float64)


def ndcg_at_k(ranks: NDArray[np.int32], k: int) -> NDArray[np.float64]:
    """Per user [n]: 1 / log2(1 + rank) if the target is among the first k, else 0.

    With a single relevant item the ideal DCG is 1, so DCG needs no division (Järvelin, Kekäläinen 2002).
    """
    ranks = _checked(ranks)
    return np.where(ranks <= k, 1.0 / np.log2(1.0 + ranks), 0.0)


def reciprocal_rank(ranks: NDArray[np.int32]) -> NDArray[np.float64]:
    """Per user [n]: 1 / rank in the whole catalogue; its mean over users is the MRR."""
    ranks = _checked(ranks)
    return np.where(ranks == MISSED, 0.0, 1.0 / ranks)


def per_user(ranks: NDArray[np.int32]) -> dict[str, NDArray[np.float64]]:
    """Each of METRICS -> its value per user [n]."""
    at_k = {f"{name}_at_{k}": of(ranks, k) for name, of in (("hr", hr_at_k), ("ndcg", ndcg_at_k)) for k in CUTOFFS}
    return at_k | {"mrr": reciprocal_rank(ranks)}


def means(ranks: NDArray[np.int32]) -> dict[str, float]:
    """Each of METRICS -> its mean over users."""
    return {name: float(values.mean()) for name, values in per_user(ranks).items()}


def _checked(ranks: NDArray[np.int32]) -> NDArray[np.int32]:
    if ranks.ndim != 1 or not ranks.size or ranks.min() < 1:
        raise ValueError(f"ranks must be a non-empty vector of numbers from 1 up, not {ranks.shape}: {ranks[:5]}")
    return ranks
