"""What the tests promise, on simulated systems: false alarms at the nominal rate, intervals that cover the truth.

Ranks are drawn as rankings of a catalogue have them: most users miss, users differ, the same user is alike for both
systems. Bounds are those that a binomial count leaves with a chance of 1 in 10,000 (seeds are fixed).
"""

import numpy as np
import pytest
from scipy import stats

from ilm.eval.metrics import METRICS, per_user
from ilm.eval.significance import compare, holm, permutation_p_values

USERS, ITEMS, TRIALS, SAMPLES = 300, 1000, 1500, 999
LEVEL = 0.05


def ranks(rng: np.random.Generator, ease: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Ranks of users [users] with a given ease, of any shape whose last axis are users: log-uniform above it."""
    return np.ceil(ITEMS ** (ease + (1 - ease) * rng.random(shape))).astype(np.int32)


@pytest.fixture(scope="module")
def values() -> dict[str, np.ndarray]:
    """Each metric -> per-user values [4 systems, trials, users]; in a trial all systems are equally good."""
    rng = np.random.default_rng(0)
    ease = rng.uniform(0.0, 0.6, (TRIALS, USERS))
    drawn = ranks(rng, ease, (4, TRIALS, USERS))
    return {name: of.reshape(drawn.shape) for name, of in per_user(drawn.ravel()).items()}


def p_values(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return permutation_p_values((first - second).T, samples=SAMPLES, seed=0)


def bounds(rate: float, trials: int = TRIALS) -> tuple[int, int]:
    low, high = stats.binom.ppf([1e-4, 1 - 1e-4], trials, rate)
    return int(low), int(high)


def test_metrics_of_the_simulation_are_mostly_zero(values: dict[str, np.ndarray]) -> None:
    assert 0.6 < (values["ndcg_at_10"] == 0).mean() < 0.95


@pytest.mark.parametrize("metric", ["ndcg_at_5", "ndcg_at_10", "mrr"])
def test_equal_systems_are_called_different_5_times_in_100(values: dict[str, np.ndarray], metric: str) -> None:
    alarms = (p_values(*values[metric][:2]) < LEVEL).sum()
    low, high = bounds(LEVEL)
    assert low <= alarms <= high


@pytest.mark.parametrize("metric", ["hr_at_5", "hr_at_10"])
def test_hit_rates_of_equal_systems_are_called_different_at_most_that_often(
    values: dict[str, np.ndarray], metric: str
) -> None:
    """Differences of hits are -1, 0 and 1: their sums tie, ties count against a claim, so the rate may lie below."""
    alarms = (p_values(*values[metric][:2]) < LEVEL).sum()
    assert bounds(LEVEL / 2)[0] <= alarms <= bounds(LEVEL)[1]


def test_p_of_equal_systems_is_uniform(values: dict[str, np.ndarray]) -> None:
    assert stats.kstest(p_values(*values["mrr"][:2]), "uniform").pvalue > 1e-4


def test_of_several_equal_systems_any_is_called_different_at_most_5_times_in_100(values: dict[str, np.ndarray]) -> None:
    """Uncorrected, three comparisons raise an alarm in more than the nominal share of trials; corrected, in no more."""
    subject, *others = values["ndcg_at_10"]
    found = np.stack([p_values(subject, other) for other in others])
    assert (found.min(axis=0) < LEVEL).sum() > bounds(LEVEL)[1]
    assert (holm(found).min(axis=0) < LEVEL).sum() <= bounds(LEVEL)[1]


def test_better_system_is_found_out(values: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(1)
    ease = rng.uniform(0.0, 0.6, (40, USERS))
    better, plain = (per_user(ranks(rng, ease + gain, (40, USERS)).ravel())["mrr"] for gain in (0.2, 0.0))
    assert (p_values(better.reshape(40, USERS), plain.reshape(40, USERS)) < LEVEL).mean() > 0.9


def test_intervals_cover_the_true_mean_about_95_times_in_100() -> None:
    """The true mean is known: every user draws from the same ranks 1 .. ITEMS with probabilities written down here."""
    rng = np.random.default_rng(2)
    chances = 1.0 / np.arange(1, ITEMS + 1)
    chances /= chances.sum()
    trials, users = 400, 1000
    drawn = rng.choice(np.arange(1, ITEMS + 1, dtype=np.int32), (trials, users), p=chances)
    every = per_user(np.arange(1, ITEMS + 1, dtype=np.int32))
    columns = np.concatenate([per_user(row)[name][None] for name in METRICS for row in drawn])  # [metrics * trials, u]
    estimates = compare({"a": columns.T[None]}, "a", samples=SAMPLES, seed=0).estimates["a"]
    for number, name in enumerate(METRICS):
        truth = float(every[name] @ chances)
        mine = estimates[number * trials : (number + 1) * trials]
        covered = sum(estimate.low <= truth <= estimate.high for estimate in mine)
        assert bounds(0.95, trials)[0] <= covered <= bounds(0.95, trials)[1], name
