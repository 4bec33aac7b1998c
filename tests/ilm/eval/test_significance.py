"""Bootstrap intervals and paired tests: known answers, coverage, agreement with scipy, refusals."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from ilm.errors import DataError
from ilm.eval import significance
from ilm.eval.significance import mean_intervals, paired_tests


def column(values: object) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)[:, None]


def test_identical_systems_have_p_one_and_an_interval_of_zero() -> None:
    values = column([0, 1, 0, 1, 1])
    (test,) = paired_tests(values, values.copy(), samples=200, seed=0)
    assert (test.difference, test.low, test.high, test.p_value) == (0, 0, 0, 1)
    assert test.verdict == "no proven difference"


def test_constant_gain_has_the_smallest_p_that_the_samples_allow() -> None:
    values = column(np.arange(20) / 20)
    (test,) = paired_tests(values + 0.5, values, samples=999, seed=0)
    assert (test.difference, test.low, test.high) == pytest.approx((0.5, 0.5, 0.5))
    assert test.p_value == pytest.approx(2 / 1000)
    assert test.verdict == "better"


def test_swapping_the_systems_mirrors_the_answer() -> None:
    rng = np.random.default_rng(1)
    first, second = column(rng.normal(0.3, 1, 80)), column(rng.normal(0, 1, 80))
    (forward,) = paired_tests(first, second, samples=500, seed=3)
    (back,) = paired_tests(second, first, samples=500, seed=3)
    assert (back.difference, back.low, back.high) == pytest.approx((-forward.difference, -forward.high, -forward.low))
    assert back.p_value == forward.p_value


@pytest.mark.parametrize("gain", [0.0, 0.03, 0.06, 0.1])
def test_agrees_with_the_t_test_on_many_users(gain: float) -> None:
    rng = np.random.default_rng(2)
    second = rng.normal(0, 1, 2000)
    first = second + rng.normal(gain, 1, 2000)
    (test,) = paired_tests(column(first), column(second), samples=4000, seed=0)
    reference = ttest_rel(first, second)
    interval = reference.confidence_interval(0.95)
    assert test.p_value == pytest.approx(reference.pvalue, abs=0.03)
    assert (test.low, test.high) == pytest.approx((interval.low, interval.high), abs=0.005)


def test_interval_covers_the_true_mean_about_95_times_in_100() -> None:
    rng = np.random.default_rng(3)
    draws = rng.binomial(1, 0.3, size=(200, 300)).astype(float)  # 200 users, 300 repetitions as columns
    intervals = mean_intervals(draws, samples=600, seed=0)
    covered = sum(interval.low <= 0.3 <= interval.high for interval in intervals)
    assert 0.90 * 300 <= covered <= 0.99 * 300


def test_false_alarms_are_about_5_in_100() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.binomial(1, 0.2, size=(2, 300, 300)).astype(float)
    alarms = sum(test.p_value < 0.05 for test in paired_tests(first, second, samples=600, seed=0))
    assert 0.01 * 300 <= alarms <= 0.10 * 300


def test_interval_excludes_zero_exactly_when_p_is_below_5_percent() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=(2, 60, 200))
    tests = paired_tests(first, second, samples=999, seed=0)
    borderline = [t for t in tests if abs(t.p_value - 0.05) < 0.005]
    assert all((t.p_value < 0.05) == (t.verdict != "no proven difference") for t in tests if t not in borderline)


def test_equal_seed_gives_equal_numbers_and_another_seed_others() -> None:
    values = column(np.random.default_rng(6).normal(size=50))
    assert mean_intervals(values, samples=200, seed=1) == mean_intervals(values, samples=200, seed=1)
    assert mean_intervals(values, samples=200, seed=1) != mean_intervals(values, samples=200, seed=2)


def test_chunks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    values = column(np.random.default_rng(7).integers(0, 2, 40))
    whole = mean_intervals(values, samples=150, seed=1)
    monkeypatch.setattr(significance, "_CHUNK_CELLS", 7 * 40)
    assert mean_intervals(values, samples=150, seed=1) == whole


@pytest.mark.parametrize("bad", [np.zeros((0, 1)), np.zeros((3, 0)), np.zeros(3)])
def test_empty_or_misshapen_values_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"needs \[users, metrics\]"):
        mean_intervals(bad, samples=100, seed=0)
    with pytest.raises(DataError, match=r"needs \[users, metrics\]"):
        paired_tests(bad, bad, samples=100, seed=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_values_are_refused(bad: float) -> None:
    good, broken = column([0, 1, 0]), column([0, bad, 0])
    for first, second in ((good, broken), (broken, good)):
        with pytest.raises(DataError, match="NaN or infinite"):
            paired_tests(first, second, samples=100, seed=0)
    with pytest.raises(DataError, match="NaN or infinite"):
        mean_intervals(broken, samples=100, seed=0)


def test_different_numbers_of_users_are_refused() -> None:
    with pytest.raises(DataError, match="same users"):
        paired_tests(column([0, 1]), column([0, 1, 1]), samples=100, seed=0)
