"""What the gate promises, on simulated models: equal ones are promoted in at most 5 % of trials, better ones mostly.

NDCG@10 of ranks as rankings have them: most users miss, users differ, the same user is alike for both models. Counts
are held to what a binomial count exceeds with a chance of 1 in 10,000 (seeds are fixed).
"""

import numpy as np
import pytest
from scipy import stats

from ilm.eval.metrics import ndcg_at_k
from ilm.gate.decision import decide
from ilm.gate.margin_test import detectable_effect, p_values_above
from ilm.params import GateParams
from tests.ilm.gate.conftest import gate, of_ranks

ITEMS, TRIALS, ALPHA, SAMPLES = 2000, 1000, GateParams().alpha, 4999


def ranks(rng: np.random.Generator, ease: np.ndarray) -> np.ndarray:
    """Ranks of users with a given ease, of its shape: log-uniform above it."""
    return np.ceil(ITEMS ** (ease + (1 - ease) * rng.random(ease.shape))).astype(np.int32)


def values(drawn: np.ndarray) -> np.ndarray:
    return ndcg_at_k(drawn.ravel(), 10).reshape(drawn.shape)


def differences(users: int, gain: float = 0.0, trials: int = TRIALS) -> np.ndarray:
    """[users, trials] of NDCG@10, challenger minus champion; a gain moves the challenger's ranks to the front."""
    rng = np.random.default_rng([users, int(1000 * abs(gain)), int(gain < 0)])
    ease = rng.uniform(0.0, 0.4, (users, trials))
    return values(ranks(rng, np.clip(ease - gain, 0, 1))) - values(ranks(rng, ease))


def promoted(columns: np.ndarray, margin: float) -> int:
    return int((p_values_above(columns, margin, samples=SAMPLES, seed=0) <= ALPHA).sum())


def planted(gain: float) -> tuple[float, float]:
    """True mean of the differences, and their deviation, from 4 million users."""
    found = differences(4000, gain)
    return float(found.mean()), float(found.std())


def at_most(rate: float, trials: int = TRIALS) -> int:
    return int(stats.binom.ppf(1 - 1e-4, trials, rate))


def at_least(rate: float, trials: int = TRIALS) -> int:
    return int(stats.binom.ppf(1e-4, trials, rate))


def test_differences_of_the_simulation_are_mostly_zero() -> None:
    assert 0.5 < (differences(300) == 0).mean() < 0.9


@pytest.mark.parametrize("users", [100, 300, 1000])
def test_equal_models_are_promoted_in_at_most_5_of_100_trials(users: int) -> None:
    """The chance of each is 2.5 %, so that 1,000 trials as a whole keep to 5 % however they fall."""
    assert at_most(ALPHA) <= 50
    assert promoted(differences(users), 0.0) <= 50


def test_a_comparison_without_a_test_would_promote_every_other_one() -> None:
    assert (differences(300).mean(axis=0) > 0).sum() > 400


@pytest.mark.parametrize("gain", [-0.05, 0.1])
def test_models_exactly_at_another_margin_are_promoted_about_as_rarely(gain: float) -> None:
    """The test is approximate there, so 3 % instead of 2.5."""
    truth, _ = planted(gain)
    assert truth * gain > 0
    assert promoted(differences(500, gain), truth) <= at_most(0.03)


@pytest.mark.parametrize("gain", [0.06, 0.1])
def test_a_gain_as_large_as_the_detectable_effect_is_promoted_with_the_stated_power(gain: float) -> None:
    """As many users as make the planted gain (0.021 and 0.035 of NDCG@10) detectable in 80 of 100 trials."""
    truth, deviation = planted(gain)
    users = round((detectable_effect(deviation, 1, alpha=ALPHA, power=0.8) / truth) ** 2)
    assert at_least(0.78) <= promoted(differences(users, gain), 0.0) <= at_most(0.82)


def test_with_four_times_the_users_it_is_hardly_ever_missed() -> None:
    truth, deviation = planted(0.1)
    users = 4 * round((detectable_effect(deviation, 1, alpha=ALPHA, power=0.8) / truth) ** 2)
    assert promoted(differences(users, 0.1), 0.0) >= at_least(0.99)


@pytest.mark.slow
@pytest.mark.parametrize("users", [300, 2000])
def test_whole_decisions_keep_the_promise(users: int) -> None:
    """The same with `decide` itself, 1,000 times: all rules on, so promotions can only be rarer."""
    outcomes = []
    for trial in range(TRIALS):
        rng = np.random.default_rng([users, trial])
        ease = rng.uniform(0.0, 0.4, users)
        champion, challenger = of_ranks(ranks(rng, ease)), of_ranks(ranks(rng, ease))
        outcomes.append(decide(champion, challenger, gate(seed=trial)).outcome)
    assert outcomes.count("promote") <= at_most(ALPHA)
    assert outcomes.count("error") == 0
