"""Is the challenger better than the champion by more than a margin? A one-sided paired test, and what it could find.

The null hypothesis is "the mean difference (challenger minus champion) is the margin or less". The margin has a sign:
0 asks for a better model, a positive one for a model better by more than that, a negative one for a model that is at
most so much worse (non-inferiority).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ilm.eval.metrics import METRICS
from ilm.eval.significance import Values, bootstrap_means, permutation_p_values


@dataclass(frozen=True)
class Row:
    """Means of one metric; their difference (challenger minus champion) with its 1 - 2 alpha percentile interval."""

    metric: str
    champion: float
    challenger: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class MarginTest:
    """The test that decides."""

    metric: str
    users: int
    margin: float
    alpha: float
    difference: float
    low: float
    """Lower end of the 1 - 2 alpha interval: the end that a one-sided test at alpha looks at."""
    high: float
    p_value: float
    """One-sided."""
    deviation: float
    """Standard deviation of the per-user differences."""
    detectable: float
    """How far above the margin the truth must lie to be proved with the wanted power, with so many users."""

    @property
    def passed(self) -> bool:
        """Whether the difference is proved to be above the margin."""
        return self.p_value <= self.alpha


def p_values_above(differences: Values, margin: float, *, samples: int, seed: int) -> Values:
    """One-sided p-values [m] of "the mean is the margin or less", for columns of per-user differences [n, m].

    Signs of (difference - margin) are flipped. With margin 0 this is the permutation test of two models that could be
    swapped, exact for any number of users; with another margin it is approximate, as a t-test is (measured in
    docs/decisions/gate.md). The one-sided p is half the two-sided one: flipping all signs mirrors the distribution.
    """
    shifted = differences - margin
    two_sided = permutation_p_values(shifted, samples=samples, seed=seed)
    return np.where(shifted.mean(axis=0) > 0, two_sided / 2, 1 - two_sided / 2)


def detectable_effect(deviation: float, users: int, *, alpha: float, power: float) -> float:
    """The smallest true distance above the margin that a one-sided test at `alpha` proves with this power.

    (z of 1 - alpha + z of power) * deviation / sqrt(users): the mean of so many users is nearly normal.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)) * deviation / float(np.sqrt(users))


def compare(
    champion: Mapping[str, Values], challenger: Mapping[str, Values], *, alpha: float, samples: int, seed: int
) -> dict[str, Row]:
    """A row per metric of METRICS; values per user [n] of both in the same order, n at least 1."""
    columns = np.stack([challenger[name] - champion[name] for name in METRICS], axis=1)  # [n, m]
    resampled = bootstrap_means(columns, samples=samples, seed=seed)
    low, high = np.quantile(resampled, [alpha, 1 - alpha], axis=0)
    means = ([float(of[name].mean()) for name in METRICS] for of in (champion, challenger))
    cells = (METRICS, *means, columns.mean(axis=0).tolist(), low.tolist(), high.tolist())
    return {row[0]: Row(*row) for row in zip(*cells, strict=True)}


def margin_test(
    row: Row, differences: Values, *, margin: float, alpha: float, power: float, samples: int, seed: int
) -> MarginTest:
    """Test the differences [n] of a metric, whose means are `row`; n at least 2."""
    deviation = float(differences.std(ddof=1))
    return MarginTest(
        metric=row.metric,
        users=len(differences),
        margin=margin,
        alpha=alpha,
        difference=row.difference,
        low=row.low,
        high=row.high,
        p_value=float(p_values_above(differences[:, None], margin, samples=samples, seed=seed)[0]),
        deviation=deviation,
        detectable=detectable_effect(deviation, len(differences), alpha=alpha, power=power),
    )
