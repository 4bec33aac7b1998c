"""The numbers of metrics.json, from hand-made rankings."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from ilm.errors import DataError
from ilm.eval.cases import train_counts
from ilm.eval.metrics import METRICS, MISSED
from ilm.eval.protocol import TOP, Cases, Ranking
from ilm.eval.summary import head_items, headline, score_table, significance, significance_over_seeds, slices

TARGETS = [0, 1, 2, 3]
HISTORY_LENGTHS = [1, 1, 3, 5]
TRAIN_COUNTS = np.array([9, 5, 5, 1, 0, 7])
USERS = [3, 5, 6, 9]
USER_COUNTS = {3: 0, 5: 2, 6: 4, 9: 10}
ACTIVE = np.array([True, True, True, True, True, False])


def make_sequences(item_counts: np.ndarray = TRAIN_COUNTS, user_counts: dict[int, int] = USER_COUNTS) -> pl.DataFrame:
    """A train part with so many interactions of each item and of each test user (the rest is user 0's), and others."""
    items = np.repeat(np.arange(len(item_counts)), item_counts)
    users = np.repeat(list(user_counts), list(user_counts.values()))
    users = np.append(users, np.zeros(max(0, len(items) - len(users)), int))[: len(items)]
    train = pl.DataFrame({"user_index": users, "item_index": items, "part": "train"})
    later = pl.DataFrame({"user_index": USERS * 2, "item_index": [4] * 8, "part": ["valid"] * 4 + ["test"] * 4})
    return pl.concat([train, later])


SEQUENCES = make_sequences()


def make_ranking(filtered: list[int], unfiltered: list[int], top: list[list[int]]) -> Ranking:
    lists = np.full((len(filtered), TOP), -1, np.int32)
    for row, items in enumerate(top):
        lists[row, : len(items)] = items
    return Ranking(np.array(filtered, np.int32), np.array(unfiltered, np.int32), lists)


def make_cases() -> Cases:
    seen = [np.zeros(length, np.int32) for length in HISTORY_LENGTHS]
    return Cases(np.array(USERS, np.int32), np.array(TARGETS, np.int32), seen, seen)


RANKINGS = {
    "ilm": {"sequential": make_ranking([1, 2, 3, 20], [2, 3, 4, 21], [[0, 1], [2, 1], [3], [0]])},
    "als": {"sequential": make_ranking([1, 9, 30, 20], [2, 10, 31, 21], [[0], [0], [0], [0]])},
}
CASES = {"sequential": make_cases()}


def test_score_table_has_a_row_per_system_task_and_user() -> None:
    table = score_table(RANKINGS, CASES)
    assert table.columns == ["system", "task", "user_index", "target", "rank_filtered", "rank_unfiltered"]
    assert table.rows()[:2] == [("als", "sequential", 3, 0, 1, 2), ("als", "sequential", 5, 1, 9, 10)]
    assert table["system"].to_list() == ["als"] * 4 + ["ilm"] * 4


def test_headline_nests_system_task_setting_metric() -> None:
    numbers = headline(RANKINGS)
    assert numbers["ilm"]["sequential"]["filtered"]["hr_at_5"] == 0.75
    assert numbers["als"]["sequential"]["unfiltered"]["hr_at_10"] == 0.5
    assert all(tuple(values) == METRICS for tasks in numbers.values() for values in tasks["sequential"].values())


def test_significance_compares_the_subject_with_each_baseline() -> None:
    numbers = significance(RANKINGS, "ilm", samples=100, seed=0)
    assert list(numbers["paired"]) == ["ilm_minus_als"]
    test = numbers["paired"]["ilm_minus_als"]["sequential"]["filtered"]["hr_at_5"]
    assert test["difference"] == 0.5
    assert set(test) == {"difference", "low", "high", "p_value", "p_holm"}


def test_correction_counts_the_systems_compared_with() -> None:
    three = {**RANKINGS, "popularity": RANKINGS["als"], "chance": RANKINGS["als"]}
    tests = [tasks["sequential"]["filtered"]["mrr"] for tasks in significance_of(three)["paired"].values()]
    assert len({test["p_value"] for test in tests}) == 1
    assert {test["p_holm"] for test in tests} == {min(1.0, 3 * tests[0]["p_value"])}


def significance_of(rankings: dict[str, dict[str, Ranking]]) -> dict[str, Any]:
    return significance(rankings, "ilm", samples=100, seed=0)


def test_seeds_are_averaged_and_their_spread_is_given() -> None:
    runs = {"ilm": [RANKINGS["ilm"], RANKINGS["als"]], "als": [RANKINGS["als"]]}
    numbers = significance_over_seeds(runs, "ilm", samples=100, seed=0)
    first, second = (headline(RANKINGS)[system]["sequential"]["filtered"]["hr_at_5"] for system in ("ilm", "als"))
    found = numbers["intervals"]["ilm"]["sequential"]["filtered"]["hr_at_5"]
    assert found["mean"] == (first + second) / 2
    assert found["seed_deviation"] == pytest.approx(abs(first - second) / 2**0.5)
    difference = numbers["paired"]["ilm_minus_als"]["sequential"]["filtered"]["hr_at_5"]["difference"]
    assert difference == pytest.approx((first - second) / 2)


def test_one_seed_has_no_spread() -> None:
    found = significance_of(RANKINGS)["intervals"]["als"]["sequential"]["filtered"]["mrr"]
    assert found["seed_deviation"] is None


def test_system_without_a_task_is_not_compared_in_it() -> None:
    both = {"ilm": {**RANKINGS["ilm"], "straightforward": RANKINGS["ilm"]["sequential"]}, "als": RANKINGS["als"]}
    numbers = significance_of(both)
    assert list(numbers["intervals"]["ilm"]) == ["sequential", "straightforward"]
    assert list(numbers["intervals"]["als"]) == list(numbers["paired"]["ilm_minus_als"]) == ["sequential"]


def test_system_that_dropped_a_user_is_refused() -> None:
    three = {"sequential": make_ranking([1, 2, 3], [1, 2, 3], [[0], [0], [0]])}
    with pytest.raises(DataError, match="All systems need the same users"):
        significance_of({"ilm": RANKINGS["ilm"], "als": three})


@pytest.mark.parametrize("setting", ["filtered", "unfiltered"])
@pytest.mark.parametrize("metric", METRICS)
def test_each_difference_and_interval_belongs_to_its_metric(setting: str, metric: str) -> None:
    means, numbers = headline(RANKINGS), significance(RANKINGS, "ilm", samples=200, seed=0)
    ilm, als = (means[system]["sequential"][setting][metric] for system in ("ilm", "als"))
    interval = numbers["intervals"]["ilm"]["sequential"][setting][metric]
    assert interval["low"] <= ilm <= interval["high"]
    difference = numbers["paired"]["ilm_minus_als"]["sequential"][setting][metric]["difference"]
    assert difference == pytest.approx(ilm - als)


def test_head_is_a_fifth_of_the_active_items_rounded_up() -> None:
    assert np.flatnonzero(head_items(TRAIN_COUNTS, ACTIVE)).tolist() == [0]
    assert np.flatnonzero(head_items(TRAIN_COUNTS, np.ones(6, bool))).tolist() == [0, 5]


def test_equally_popular_items_enter_the_head_by_smaller_index() -> None:
    assert np.flatnonzero(head_items(np.array([1, 5, 5, 5, 0]), np.ones(5, bool))).tolist() == [1]


def sliced(sequences: pl.DataFrame) -> dict[str, Any]:
    return slices(RANKINGS, CASES, train_counts(sequences, 6), ACTIVE)


def part(name: str) -> dict[str, Any]:
    result: dict[str, Any] = sliced(SEQUENCES)[name]["sequential"]
    return result


def test_slices_split_users_by_the_popularity_of_their_target() -> None:
    popularity = part("target_popularity")
    assert {name: group["users"] for name, group in popularity.items()} == {"head": 1, "tail": 3}
    assert popularity["tail"]["systems"]["ilm"]["hr_at_5"] == pytest.approx(2 / 3)


def test_slices_split_users_by_the_length_of_their_history() -> None:
    lengths = part("history_length")
    assert {name: group["users"] for name, group in lengths.items()} == {"short": 2, "long": 2}
    assert lengths["short"]["systems"]["als"]["hr_at_10"] == 1.0


def test_slices_split_users_by_their_train_interactions() -> None:
    found = sliced(SEQUENCES)
    assert found["cold_interactions"] == 3.0, "a quarter of the way from 2 to 4 to 10 lies half-way to 4"
    activity = found["user_activity"]["sequential"]
    assert {name: group["users"] for name, group in activity.items()} == {"new": 1, "cold": 1, "warm": 2}
    assert activity["new"]["systems"]["als"]["hr_at_5"] == 1.0
    assert activity["cold"]["systems"]["ilm"]["mrr"] == 1 / 2
    assert activity["warm"]["systems"]["ilm"]["mrr"] == pytest.approx((1 / 3 + 1 / 20) / 2)


def test_slice_of_new_users_is_left_out_where_all_have_train_interactions() -> None:
    activity = sliced(make_sequences(user_counts=dict.fromkeys(USERS, 3)))["user_activity"]
    assert {name: group["users"] for name, group in activity["sequential"].items()} == {"cold": 4, "warm": 0}


def test_nobody_with_train_interactions_is_everybody_new() -> None:
    activity = sliced(make_sequences(user_counts=dict.fromkeys(USERS, 0)))["user_activity"]
    assert {name: group["users"] for name, group in activity["sequential"].items()} == {"new": 4, "cold": 0, "warm": 0}


def test_interactions_outside_the_train_part_count_nowhere() -> None:
    train = SEQUENCES.filter(part="train")
    assert train.height < SEQUENCES.height
    assert sliced(train) == sliced(SEQUENCES)


def test_slice_without_users_has_no_systems() -> None:
    everything_head = sliced(make_sequences(np.array([0, 0, 0, 0, 9, 0])))["target_popularity"]["sequential"]
    assert everything_head["head"] == {"users": 0, "systems": {}}


def test_missed_targets_are_counted_and_worth_nothing() -> None:
    ranks = [1, 2, 3, MISSED]
    rankings = {"ilm": {"sequential": make_ranking(ranks, ranks, [[0]] * 4)}}
    found = slices(rankings, CASES, train_counts(SEQUENCES, 6), np.array([True, True, True, False, True, False]))
    assert found["missed_targets"] == {"sequential": 1}
    assert headline(rankings)["ilm"]["sequential"]["filtered"]["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 4)
    assert score_table(rankings, CASES)["rank_filtered"].to_list() == ranks


def test_coverage_and_popularity_count_the_lists_only() -> None:
    recommended = part("recommendations")
    assert recommended["ilm"] == {"coverage_at_10": 4 / 5, "mean_popularity_at_10": pytest.approx(34 / 6)}
    assert recommended["als"] == {"coverage_at_10": 1 / 5, "mean_popularity_at_10": 9.0}
