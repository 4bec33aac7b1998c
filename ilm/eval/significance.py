"""How sure are we? Bootstrap over users: an interval for a mean, and a paired test of two systems.

Resampling users (not user-item pairs) keeps what belongs to one user together. Metrics of single-target ranking are
mostly zeros, so nothing is assumed about their distribution (Efron, Tibshirani 1993, chapters 13 and 15).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilm.errors import DataError

CONFIDENCE = 0.95
_CHUNK_CELLS = 2_000_000
"""Resampling weights held at once (8 bytes each)."""


@dataclass(frozen=True)
class Interval:
    """A mean over users and its 95 % percentile interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Mean per-user difference (first minus second), its 95 % interval, and a two-sided p-value."""

    difference: float
    low: float
    high: float
    p_value: float

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or `no proven difference` when the interval contains 0."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no proven difference"


def mean_intervals(values: NDArray[np.float64], *, samples: int, seed: int) -> list[Interval]:
    """Intervals for the column means of per-user values [n_users, m]; all columns share the resamples.

    Raises:
        DataError: empty values, or NaN or infinity among them.
    """
    resampled = _bootstrap_means(_checked(values), samples, seed)
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return [Interval(*map(float, row)) for row in zip(values.mean(axis=0), low, high, strict=True)]


def paired_tests(
    first: NDArray[np.float64], second: NDArray[np.float64], *, samples: int, seed: int
) -> list[PairedTest]:
    """Compare two systems column by column on the same users.

    p is twice the smaller share of resampled differences at or beyond zero, so it agrees with the interval: below
    0.05 where the interval excludes 0. It is never 0 (the observed sample counts as one resample) and at most 1.

    Args:
        first: [n_users, m] per-user values.
        second: [n_users, m], the same users in the same order.
        samples: number of resamples.
        seed: of the resampling.

    Raises:
        DataError: the shapes differ, values are empty, or NaN or infinity is among them.
    """
    if first.shape != second.shape:
        raise DataError(f"paired test: {first.shape} against {second.shape} values; both need the same users.")
    difference = _checked(first) - _checked(second)
    resampled = _bootstrap_means(difference, samples, seed)
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    tail = np.minimum((resampled <= 0).sum(axis=0), (resampled >= 0).sum(axis=0))
    p_values = np.minimum(1.0, 2 * (tail + 1) / (samples + 1))
    return [PairedTest(*map(float, row)) for row in zip(difference.mean(axis=0), low, high, p_values, strict=True)]


def _bootstrap_means(values: NDArray[np.float64], samples: int, seed: int) -> NDArray[np.float64]:
    """Column means of `samples` resamples of the rows: [samples, m]."""
    count = len(values)
    rng = np.random.default_rng(seed)
    resampled = np.empty((samples, values.shape[1]))
    chunk = max(1, _CHUNK_CELLS // count)
    for start in range(0, samples, chunk):
        size = min(chunk, samples - start)
        weights = np.stack([np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(size)])
        resampled[start : start + size] = weights.astype(np.float64) @ values / count
    return resampled


def _checked(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if values.ndim != 2 or not values.size:
        raise DataError(f"bootstrap: needs [users, metrics] values, got shape {values.shape}. No users were evaluated.")
    if not np.isfinite(values).all():
        raise DataError("bootstrap: a per-user value is NaN or infinite; a mean over users would mean nothing.")
    return values
