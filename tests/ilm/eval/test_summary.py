"""The numbers of metrics.json, from hand-made rankings."""

from typing import Any

import numpy as np
import pytest

from ilm.eval.metrics import METRICS
from ilm.eval.protocol import TOP, Cases, Ranking
from ilm.eval.summary import head_items, headline, score_table, significance, slices

TARGETS = [0, 1, 2, 3]
HISTORY_LENGTHS = [1, 1, 3, 5]
TRAIN_COUNTS = np.array([9, 5, 5, 1, 0, 7])
ACTIVE = np.array([True, True, True, True, True, False])


def make_ranking(filtered: list[int], unfiltered: list[int], top: list[list[int]]) -> Ranking:
    lists = np.full((len(filtered), TOP), -1, np.int32)
    for row, items in enumerate(top):
        lists[row, : len(items)] = items
    return Ranking(np.array(filtered, np.int32), np.array(unfiltered, np.int32), lists)


def make_cases() -> Cases:
    seen = [np.zeros(length, np.int32) for length in HISTORY_LENGTHS]
    return Cases(np.array([3, 5, 6, 9], np.int32), np.array(TARGETS, np.int32), seen, seen)


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
    assert set(test) == {"difference", "low", "high", "p_value"}


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


def part(name: str) -> dict[str, Any]:
    result: dict[str, Any] = slices(RANKINGS, CASES, TRAIN_COUNTS, ACTIVE)[name]["sequential"]
    return result


def test_slices_split_users_by_the_popularity_of_their_target() -> None:
    popularity = part("target_popularity")
    assert {name: group["users"] for name, group in popularity.items()} == {"head": 1, "tail": 3}
    assert popularity["tail"]["systems"]["ilm"]["hr_at_5"] == pytest.approx(2 / 3)


def test_slices_split_users_by_the_length_of_their_history() -> None:
    lengths = part("history_length")
    assert {name: group["users"] for name, group in lengths.items()} == {"short": 2, "long": 2}
    assert lengths["short"]["systems"]["als"]["hr_at_10"] == 1.0


def test_slice_without_users_has_no_systems() -> None:
    everything_head = slices(RANKINGS, CASES, np.array([0, 0, 0, 0, 9, 0]), ACTIVE)["target_popularity"]["sequential"]
    assert everything_head["head"] == {"users": 0, "systems": {}}


def test_coverage_and_popularity_count_the_lists_only() -> None:
    recommended = part("recommendations")
    assert recommended["ilm"] == {"coverage_at_10": 4 / 5, "mean_popularity_at_10": pytest.approx(34 / 6)}
    assert recommended["als"] == {"coverage_at_10": 1 / 5, "mean_popularity_at_10": 9.0}
