"""The one-sided test against all sign flips written out, and the detectable effect against textbook numbers."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ilm.eval.metrics import METRICS
from ilm.gate.margin_test import compare, detectable_effect, margin_test, p_values_above
from tests.ilm.gate.conftest import of_ranks

SAMPLES = 20_000


def all_flips(differences: list[float], margin: float) -> float:
    """Share of all sign patterns whose sum is at least the observed one."""
    shifted = np.array(differences) - margin
    sums = np.array(list(product([-1, 1], repeat=len(shifted)))) @ shifted
    return float((sums >= shifted.sum() - 1e-12).mean())


@pytest.mark.parametrize("margin", [0.0, -0.11, 0.07])
@pytest.mark.parametrize("differences", [[0.5, 0.2, 0.3, -0.1, 0.4, 0.25], [-0.5, 0.2, -0.3, 0.1, 0.4, -0.25, 0.9]])
def test_p_is_the_share_of_sign_flips_that_are_as_high(differences: list[float], margin: float) -> None:
    found = p_values_above(np.array(differences)[:, None], margin, samples=SAMPLES, seed=0)[0]
    expected = all_flips(differences, margin)
    assert abs(found - expected) < 0.015


def test_the_shift_is_a_shift() -> None:
    differences = np.random.default_rng(0).normal(size=(50, 3))
    moved = p_values_above(differences + 0.3, 0.3, samples=1000, seed=0)
    np.testing.assert_array_equal(moved, p_values_above(differences + 0.3 - 0.3, 0.0, samples=1000, seed=0))


def test_p_rises_with_the_margin() -> None:
    differences = np.random.default_rng(0).normal(0.2, 1, size=(100, 1))
    margins = (-0.5, 0.0, 0.2, 0.5)
    p_values = [float(p_values_above(differences, margin, samples=2000, seed=0)[0]) for margin in margins]
    assert p_values == sorted(p_values) and p_values[0] < 0.01 and p_values[-1] > 0.98


def test_p_is_near_that_of_a_t_test_where_differences_are_normal() -> None:
    differences = np.random.default_rng(1).normal(0.1, 1, size=(400, 8))
    found = p_values_above(differences, 0.05, samples=SAMPLES, seed=0)
    np.testing.assert_allclose(found, stats.ttest_1samp(differences, 0.05, alternative="greater").pvalue, atol=0.015)


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=2, max_size=40))
@settings(max_examples=40, deadline=None)
def test_of_both_directions_one_is_at_least_a_half(differences: list[float]) -> None:
    column = np.array(differences)[:, None]
    there, back = (p_values_above(sign * column, 0.0, samples=1000, seed=0)[0] for sign in (1, -1))
    assert max(there, back) >= 0.5 and min(there, back) > 0


def test_detectable_effect_is_that_of_the_textbook() -> None:
    """(1.6449 + 0.8416) * 0.2 / sqrt(1600) = 0.01243; four times the users, half the effect."""
    effect = detectable_effect(0.2, 1600, alpha=0.05, power=0.8)
    assert effect == pytest.approx(0.012432, abs=1e-6)
    assert detectable_effect(0.2, 6400, alpha=0.05, power=0.8) == pytest.approx(effect / 2)


def test_rows_hold_the_means_of_all_metrics() -> None:
    champion, challenger = of_ranks([1, 1000, 4]), of_ranks([1, 3, 1000])
    rows = compare(champion.metrics, challenger.metrics, alpha=0.05, samples=1000, seed=0)
    assert tuple(rows) == METRICS
    row = rows["ndcg_at_10"]  # 1, 0, 1 / log2 5 and 1, 1/2, 0
    assert row.champion == pytest.approx((1 + 0.430677) / 3, abs=1e-6)
    assert row.challenger == pytest.approx(0.5)
    assert row.difference == pytest.approx(row.challenger - row.champion)
    assert row.low < row.difference < row.high


def test_the_test_passes_up_to_alpha_and_no_further() -> None:
    champion, challenger = of_ranks([1000] * 5), of_ranks([1] * 5)  # all flips as high: 1 of 32 = 0.031
    rows = compare(champion.metrics, challenger.metrics, alpha=0.05, samples=SAMPLES, seed=0)
    differences = challenger.metrics["hr_at_10"] - champion.metrics["hr_at_10"]
    for alpha, passes in ((0.05, True), (0.02, False)):
        found = margin_test(rows["hr_at_10"], differences, margin=0.0, alpha=alpha, power=0.8, samples=SAMPLES, seed=0)
        assert found.p_value == pytest.approx(1 / 32, abs=0.004)
        assert found.passed is passes
