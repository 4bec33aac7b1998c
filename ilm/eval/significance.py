"""How sure are we? Systems compared on the same users: bootstrap intervals, permutation tests, Holm's correction.

Resampling users (not user-item pairs) keeps what belongs to one user together. Metrics of single-target ranking are
mostly zeros, so nothing is assumed about their distribution (Efron, Tibshirani 1993, chapters 13 and 15).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilm.errors import DataError

CONFIDENCE = 0.95
_CHUNK_CELLS = 400_000
"""Resampling weights held at once (8 bytes each): what the processor's cache takes is faster than more."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean over users with its 95 % percentile interval, which speaks of other users, and its spread over seeds."""

    mean: float
    low: float
    high: float
    seed_deviation: float | None
    """Standard deviation of the mean over users from seed to seed; None where there is one seed only."""


@dataclass(frozen=True)
class PairedTest:
    """Mean per-user difference (first minus second) with its 95 % percentile interval, and two-sided p-values."""

    difference: float
    low: float
    high: float
    p_value: float
    """Of this comparison alone."""
    p_holm: float
    """Corrected for the number of systems that the first one is compared with."""

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the corrected p is below 0.05, else `no proven difference`."""
        if self.p_holm >= 1 - CONFIDENCE:
            return "no proven difference"
        return "better" if self.difference > 0 else "worse"


@dataclass(frozen=True)
class Comparison:
    """What `compare` finds, column by column of the per-user values."""

    estimates: dict[str, list[Estimate]]
    """system -> [m]."""
    paired: dict[str, list[PairedTest]]
    """system other than the subject -> [m] tests of the subject minus that system."""


def compare(runs: Mapping[str, Values], subject: str, *, samples: int, seed: int) -> Comparison:
    """Compare one system with each other one, on the same users.

    A user's values are first averaged over the seeds of a system, so that a user counts once however many seeds were
    trained. All systems and columns share the resamples and the sign flips. The family of Holm's correction is one
    column: all comparisons of the subject by one metric, on one task, in one setting.

    Args:
        runs: system -> per-user values [seeds, n_users, m]; the number of seeds may differ, users and columns not.
        subject: the system that is compared with each other one.
        samples: resamples of the users, and as many sign flips.
        seed: of both.

    Raises:
        DataError: the subject is missing, shapes differ, values are empty, or NaN or infinity is among them.
    """
    if subject not in runs:
        raise DataError(f"significance: no values of {subject!r}, only of {', '.join(runs) or 'nobody'}. Evaluate it.")
    average = {system: _checked(system, values).mean(axis=0) for system, values in runs.items()}  # [n_users, m]
    shapes = {system: values.shape for system, values in average.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"significance: users and metrics differ, {shapes}. All systems need the same users.")

    estimates, paired = {}, {}
    resampled = _by_system(bootstrap_means(np.hstack(list(average.values())), samples=samples, seed=seed), average)
    for system, values in average.items():
        of_seed = runs[system].mean(axis=1)  # [seeds, m]
        deviation = of_seed.std(axis=0, ddof=1).tolist() if len(of_seed) > 1 else [None] * len(of_seed[0])
        numbers = (column.tolist() for column in (values.mean(axis=0), *_bounds(resampled[system])))
        estimates[system] = [Estimate(*row) for row in zip(*numbers, deviation, strict=True)]

    differences = {system: average[subject] - values for system, values in average.items() if system != subject}
    if differences:
        flat = permutation_p_values(np.hstack(list(differences.values())), samples=samples, seed=seed)
        p_values = np.stack(list(_by_system(flat, differences).values()))  # [systems, m]
        tests = zip(differences.items(), p_values, holm(p_values), strict=True)
        for (system, difference), own, corrected in tests:
            low, high = _bounds(resampled[subject] - resampled[system])
            columns = (column.tolist() for column in (difference.mean(axis=0), low, high, own, corrected))
            paired[system] = [PairedTest(*row) for row in zip(*columns, strict=True)]
    return Comparison(estimates, paired)


def bootstrap_means(values: Values, *, samples: int, seed: int) -> Values:
    """Column means of `samples` resamples of the rows of [n, m]: [samples, m]. All columns share the resamples.

    One `bincount` a resample is faster than one over flattened indexes: its counters stay in the cache.
    """
    rng, count = np.random.default_rng([seed, 0]), len(values)
    whole, unit = _exactly_summable(values)
    resampled = np.empty((samples, values.shape[1]))
    for rows in _chunks(samples, count):
        drawn = rng.integers(0, count, (rows.stop - rows.start, count), dtype=np.int64)
        weights = np.empty(drawn.shape)
        for row, users in enumerate(drawn):
            weights[row] = np.bincount(users, minlength=count)
        resampled[rows] = weights @ whole
    resampled *= unit / count
    return resampled


def permutation_p_values(difference: Values, *, samples: int, seed: int) -> Values:
    """Two-sided p-values [m] of "the sign of a user's difference is a coin flip", for columns of differences [n, m].

    The paired permutation test: were the systems equal, swapping them for any set of users would change nothing. p is
    the share of sums of flipped differences that are at least as far from 0 as the observed one, which counts as one of
    them: so the test keeps its level with any number of samples, and p is never 0 (Phipson, Smyth 2010).
    """
    rng, count = np.random.default_rng([seed, 1]), len(difference)
    whole, _ = _exactly_summable(difference)
    observed = whole.sum(axis=0)
    least = np.abs(observed) - count  # two sums that are equal but for rounding to whole units are a tie
    extreme = np.ones(difference.shape[1])
    for rows in _chunks(samples, count):
        coins = rng.integers(0, 2**64, (rows.stop - rows.start, -(-count // 64)), dtype=np.uint64)
        flipped = np.unpackbits(coins.view(np.uint8), axis=1, count=count).astype(np.float64)
        extreme += (np.abs(observed - 2.0 * (flipped @ whole)) >= least).sum(axis=0)
    return extreme / (samples + 1)


def holm(p_values: Values) -> Values:
    """Holm's step-down adjustment along the first axis of [tests, …]; the families are the columns.

    The smallest of k p-values is multiplied by k, the next by k - 1, …; none may fall below the one before it, nor
    rise above 1 (Holm 1979). Claiming all that is below 0.05 errs with a chance of at most 5 % per family, however the
    tests depend on each other.
    """
    tests = len(p_values)
    order = np.argsort(p_values, axis=0, kind="stable")
    factors = np.arange(tests, 0, -1).reshape(-1, *[1] * (p_values.ndim - 1))
    stepped = np.maximum.accumulate(np.take_along_axis(p_values, order, axis=0) * factors, axis=0)
    adjusted = np.empty_like(stepped)
    np.put_along_axis(adjusted, order, np.minimum(stepped, 1.0), axis=0)
    return adjusted


def _exactly_summable(values: Values) -> tuple[Values, float]:
    """Values [n, m] in whole units, and the unit: a power of two so small that rounding to it changes nothing that
    matters, and so large that no sum of n of them is rounded. Then it does not matter in what order a matrix product
    adds them up: equal input gives equal bits with any number of threads."""
    largest = float(np.abs(values).max()) * len(values)
    unit = 2.0 ** max(np.ceil(np.log2(largest)) - 52, -1022) if largest else 1.0
    return np.rint(values / unit), unit


def _bounds(resampled: Values) -> tuple[Values, Values]:
    """Percentile interval [m] of each column of [samples, m]."""
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return low, high


def _by_system(values: Values, systems: Mapping[str, Values]) -> dict[str, Values]:
    """Undo the stacking of the systems' columns in the last axis."""
    return dict(zip(systems, np.split(values, len(systems), axis=-1), strict=True))


def _chunks(samples: int, count: int) -> Iterator[slice]:
    size = max(1, _CHUNK_CELLS // count)
    return (slice(start, min(start + size, samples)) for start in range(0, samples, size))


def _checked(system: str, values: Values) -> Values:
    if values.ndim != 3 or not values.size:
        raise DataError(
            f"significance: {system} has values of shape {values.shape}, not [seeds, users, metrics]. "
            "No users were evaluated, or no seed."
        )
    if not np.isfinite(values).all():
        raise DataError(f"significance: a value of {system} is NaN or infinite; a mean would mean nothing.")
    return values
