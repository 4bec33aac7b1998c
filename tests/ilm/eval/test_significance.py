"""Intervals, paired tests and Holm's correction: known answers, agreement with scipy, refusals."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ilm.errors import DataError
from ilm.eval import significance
from ilm.eval.significance import Comparison, PairedTest, bootstrap_means, compare, holm, permutation_p_values


def column(values: object) -> np.ndarray:
    """Values of users as one metric of one seed."""
    return np.asarray(values, dtype=np.float64)[None, :, None]


def paired(first: object, second: object, samples: int = 999, seed: int = 0) -> PairedTest:
    found = compare({"a": column(first), "b": column(second)}, "a", samples=samples, seed=seed)
    return found.paired["b"][0]


def test_identical_systems_have_p_one_and_an_interval_of_zero() -> None:
    assert vars(paired([0, 1, 0, 1, 1], [0, 1, 0, 1, 1])) == {
        "difference": 0, "low": 0, "high": 0, "p_value": 1, "p_holm": 1,
    }  # fmt: skip


def test_constant_gain_of_many_users_has_the_smallest_p_that_the_samples_allow() -> None:
    test = paired(np.arange(40) / 40 + 0.5, np.arange(40) / 40)
    assert (test.difference, test.low, test.high) == pytest.approx((0.5, 0.5, 0.5))
    assert test.p_value == 1 / 1000
    assert test.verdict == "better"


def test_swapping_the_systems_mirrors_the_answer() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(0.3, 1, 80), rng.normal(0, 1, 80)
    forward, back = paired(first, second), paired(second, first)
    assert (back.difference, back.low, back.high) == pytest.approx((-forward.difference, -forward.high, -forward.low))
    assert back.p_value == forward.p_value


@pytest.mark.parametrize("gain", [0.0, 0.03, 0.06, 0.1])
def test_agrees_with_the_t_test_on_many_users(gain: float) -> None:
    rng = np.random.default_rng(2)
    second = rng.normal(0, 1, 2000)
    first = second + rng.normal(gain, 1, 2000)
    test, reference = paired(first, second, samples=4000), stats.ttest_rel(first, second)
    interval = reference.confidence_interval(0.95)
    assert test.p_value == pytest.approx(reference.pvalue, abs=0.03)
    assert (test.low, test.high) == pytest.approx((interval.low, interval.high), abs=0.005)


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e12])
def test_p_agrees_with_all_sign_flips_of_scipy(scale: float) -> None:
    """With 9 users scipy goes through all 512 flips; ours are drawn, so that p is off by their sampling error."""
    rng = np.random.default_rng(3)
    samples = 20_000
    for _ in range(5):
        difference = np.round(rng.normal(0.4, 1, 9), 1) * scale  # rounded: sums of flips tie with the observed one
        exact = stats.permutation_test(
            (difference,), np.sum, permutation_type="samples", vectorized=False, n_resamples=np.inf
        ).pvalue
        (p_value,) = permutation_p_values(difference[:, None], samples=samples, seed=0)
        assert p_value == pytest.approx(exact, abs=4 * (exact * (1 - exact) / samples) ** 0.5 + 1 / samples)


def test_flips_that_tie_with_the_observed_sum_count_as_extreme() -> None:
    """Four users who all gain the same: 2 of the 16 flips are as far from 0; 0.1 has no exact binary form."""
    (p_value,) = permutation_p_values(np.full((4, 1), 0.1), samples=20_000, seed=0)
    assert p_value == pytest.approx(2 / 16, abs=0.01)


def test_interval_agrees_with_the_percentile_interval_of_scipy() -> None:
    values = np.random.default_rng(4).exponential(size=200) * (np.arange(200) % 4 == 0)
    found = compare({"a": column(values)}, "a", samples=20_000, seed=0).estimates["a"][0]
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    error = values.std() / len(values) ** 0.5
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.06 * error)


def test_bootstrap_agrees_with_all_resamples_of_three_users() -> None:
    values = np.array([0.0, 1.0, 5.0])
    every = sorted(np.mean(drawn) for drawn in product(values, repeat=3))  # 27, equally likely
    drawn = np.sort(bootstrap_means(values[:, None], samples=27_000, seed=0)[:, 0])
    assert set(np.round(drawn, 12)) == set(np.round(every, 12))
    assert np.abs(drawn.reshape(27, 1000).mean(axis=1) - every).max() < 0.1


def test_holm_by_hand() -> None:
    """0.005 * 4, 0.011 * 3, 0.02 * 2, and 0.04 * 1 as it is; back in the order given."""
    assert holm(np.array([0.02, 0.005, 0.04, 0.011])).tolist() == pytest.approx([0.04, 0.02, 0.04, 0.033])


def test_holm_never_lets_a_larger_p_overtake_a_smaller_one() -> None:
    assert holm(np.array([0.03, 0.031, 0.9])).tolist() == pytest.approx([0.09, 0.09, 0.9])


def test_holm_stays_at_most_one() -> None:
    assert holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]


def test_holm_corrects_each_column_for_itself() -> None:
    p_values = np.array([[0.01, 0.5], [0.04, 0.02]])
    assert holm(p_values).tolist() == [[0.02, 0.5], [0.04, 0.04]]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float], level: float) -> None:
    """Holm's procedure as published: go up from the smallest p, compare with level / (tests left), stop at the first
    one that is above."""
    rejected = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for step, test in enumerate(order):
        if p_values[test] * (len(p_values) - step) > level:
            break
        rejected[test] = True
    assert (holm(np.array(p_values)) <= level).tolist() == rejected


def test_verdict_is_that_of_the_corrected_test() -> None:
    assert PairedTest(0.1, 0.01, 0.2, p_value=0.02, p_holm=0.06).verdict == "no proven difference"
    assert PairedTest(0.1, 0.01, 0.2, p_value=0.02, p_holm=0.04).verdict == "better"
    assert PairedTest(-0.1, -0.2, -0.01, p_value=0.02, p_holm=0.04).verdict == "worse"


def test_each_number_belongs_to_its_system_and_column() -> None:
    rng = np.random.default_rng(5)
    runs = {name: rng.random((1, 50, 3)) for name in ("a", "b", "c")}
    together = compare(runs, "a", samples=200, seed=0)
    for name in ("b", "c"):
        for metric in range(3):
            alone = compare({n: runs[n][:, :, [metric]] for n in ("a", name)}, "a", samples=200, seed=0)
            mine, its_own = together.estimates[name][metric], alone.estimates[name][0]
            assert (mine.mean, mine.low, mine.high) == pytest.approx((its_own.mean, its_own.low, its_own.high))
            both, one = vars(together.paired[name][metric]), vars(alone.paired[name][0])
            assert both | {"p_holm": 0} == pytest.approx(one | {"p_holm": 0})


def test_seeds_of_a_user_are_averaged_before_users_are_compared() -> None:
    """Three seeds are no three times as many users: noise between seeds cancels, what differs between users stays."""
    rng = np.random.default_rng(6)
    second = rng.random((1, 60, 1))
    first = second + 0.02 * rng.normal(size=(1, 60, 1)) + rng.normal(size=(3, 60, 1))
    averaged = compare({"a": first, "b": second}, "a", samples=500, seed=0)
    by_hand = compare({"a": first.mean(axis=0)[None], "b": second}, "a", samples=500, seed=0)
    assert averaged.paired == by_hand.paired
    assert averaged.estimates["a"][0].seed_deviation == pytest.approx(first.mean(axis=1).std(ddof=1))
    assert averaged.estimates["b"][0].seed_deviation is None


def some() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    return {name: 1.0 / rng.integers(1, 60, (1, 40, 2)) for name in "ab"}


def found(seed: int) -> Comparison:
    return compare(some(), "a", samples=150, seed=seed)


def test_equal_seed_gives_equal_numbers_and_another_seed_others() -> None:
    assert found(1) == found(1)
    assert found(1) != found(2)


def test_chunks_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = found(1)
    monkeypatch.setattr(significance, "_CHUNK_CELLS", 7 * 40)
    assert found(1) == whole


@pytest.mark.parametrize("difference", [[0.1, 0.2, -0.3], [1 / 3, 2 / 3, -1], [1 / 3, 1 / 6, -1 / 2]])
def test_what_cancels_but_for_rounding_is_no_difference(difference: list[float]) -> None:
    """Such sums are common: hits averaged over three seeds, reciprocal ranks."""
    assert permutation_p_values(np.array(difference)[:, None], samples=99, seed=0) == [1.0]


@pytest.mark.parametrize("shape", [(0, 3, 1), (1, 0, 1), (1, 3, 0), (3, 1)])
def test_empty_or_misshapen_values_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"not \[seeds, users, metrics\]"):
        compare({"a": np.zeros(shape)}, "a", samples=100, seed=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("system", ["a", "b"])
def test_not_finite_values_are_refused(bad: float, system: str) -> None:
    runs = {"a": column([0, 1, 0]), "b": column([0, 1, 0])} | {system: column([0, bad, 0])}
    with pytest.raises(DataError, match=f"a value of {system} is NaN or infinite"):
        compare(runs, "a", samples=100, seed=0)


@pytest.mark.parametrize("other", [np.zeros((1, 3, 1)), np.zeros((1, 2, 2))])
def test_other_users_or_metrics_are_refused(other: np.ndarray) -> None:
    with pytest.raises(DataError, match="same users"):
        compare({"a": column([0, 1]), "b": other}, "a", samples=100, seed=0)


def test_missing_subject_is_refused() -> None:
    with pytest.raises(DataError, match="no values of 'c', only of a, b"):
        compare({"a": column([0, 1]), "b": column([0, 1])}, "c", samples=100, seed=0)
