"""Test cases read from the examples and the sequences."""

import numpy as np
import polars as pl
import pytest

from ilm.data.examples import examples
from ilm.errors import DataError
from ilm.eval.cases import candidate_items, held_out_cases, sizes
from ilm.params import PairsParams

SEQUENCES = pl.DataFrame(
    [
        (u, p, i, part)
        for u, items in ((0, [4, 2, 9, 1, 3]), (2, [5, 6, 7]))
        for p, (i, part) in enumerate(zip(items, ["train"] * (len(items) - 2) + ["valid", "test"], strict=True))
    ],
    schema={"user_index": pl.Int32, "position": pl.Int32, "item_index": pl.Int32, "part": pl.String},
    orient="row",
)


def make_examples(*rows: tuple[str, str, int, list[int], int]) -> pl.DataFrame:
    schema = {"task": pl.String, "split": pl.String, "user_index": pl.Int32, "history": pl.List(pl.Int32)}
    return pl.DataFrame(rows, schema={**schema, "target": pl.Int32}, orient="row")


EXAMPLES = make_examples(
    ("sequential", "test", 2, [6], 7),
    ("sequential", "test", 0, [9, 1], 3),
    ("sequential", "valid", 0, [9], 1),
    ("straightforward", "test", 0, [9, 1], 3),
)


def test_cases_hold_the_shown_history_and_everything_seen() -> None:
    cases = held_out_cases(EXAMPLES, SEQUENCES, "sequential")
    assert cases.user_index.tolist() == [0, 2]
    assert cases.targets.tolist() == [3, 7]
    assert [history.tolist() for history in cases.histories] == [[9, 1], [6]]
    assert [items.tolist() for items in cases.seen] == [[4, 2, 9, 1], [5, 6]]


def test_a_later_test_item_is_not_seen() -> None:
    """With a split by time a user may have several test items; the first is the target, the rest the future."""
    later = pl.DataFrame({"user_index": [0], "position": [5], "item_index": [8], "part": ["test"]}, SEQUENCES.schema)
    cases = held_out_cases(EXAMPLES, pl.concat([SEQUENCES, later]), "sequential")
    assert cases.seen[0].tolist() == [4, 2, 9, 1]


def test_only_the_task_asked_for_is_taken() -> None:
    assert held_out_cases(EXAMPLES, SEQUENCES, "straightforward").user_index.tolist() == [0]


def test_no_test_example_is_refused() -> None:
    with pytest.raises(DataError, match="no test example of task 'sequential'"):
        held_out_cases(EXAMPLES.filter(pl.col("split") != "test"), SEQUENCES, "sequential")


def test_two_test_examples_of_a_user_are_refused() -> None:
    with pytest.raises(DataError, match="two test examples"):
        held_out_cases(pl.concat([EXAMPLES, EXAMPLES]), SEQUENCES, "sequential")


@pytest.mark.parametrize("row", [("sequential", "test", 0, [9, 1], 4), ("sequential", "test", 1, [9, 1], 3)])
def test_target_that_the_sequences_do_not_hold_out_is_refused(row: tuple) -> None:
    with pytest.raises(DataError, match="not the users' first test items"):
        held_out_cases(make_examples(row), SEQUENCES, "sequential")


ACTIVE = np.isin(np.arange(10), [1, 2, 3, 4, 5, 6, 7, 9])


def test_with_leave_one_out_every_active_item_may_be_recommended() -> None:
    assert candidate_items(SEQUENCES, ACTIVE, "leave_one_out").tolist() == ACTIVE.tolist()


@pytest.mark.parametrize(("part", "known"), [("test", [1, 2, 4, 5, 6, 9]), ("valid", [2, 4, 5, 9])])
def test_with_global_time_only_what_was_met_before_the_part_may_be_recommended(part: str, known: list[int]) -> None:
    assert np.flatnonzero(candidate_items(SEQUENCES, ACTIVE, "global_time", part)).tolist() == known


def test_item_that_is_first_met_in_the_part_may_be_inactive_with_global_time() -> None:
    unknown = ACTIVE & ~np.isin(np.arange(10), [3, 7])
    assert np.flatnonzero(candidate_items(SEQUENCES, unknown, "global_time")).tolist() == [1, 2, 4, 5, 6, 9]


SOME = pl.DataFrame(
    [
        (user, place, place, {"t": "train", "v": "valid", "e": "test"}[letter])
        for user, letters in enumerate(["tvee", "vve", "ee", "tt", "ve", "tv"])
        for place, letter in enumerate(letters)
    ],
    schema=SEQUENCES.schema,
    orient="row",
)


def test_sizes_count_who_is_asked_and_who_cannot_be() -> None:
    active = np.array([True, True, False])
    found = {"users": 6, "items": 2, "interactions": 15, "split": "global_time"}
    asked = {"cases": 3, "users_without_train": 2, "users_without_history": 1}
    assert sizes(SOME, active, "global_time") == found | asked
    asked = {"cases": 2, "users_without_train": 0, "users_without_history": 2}
    assert sizes(SOME, active, "global_time", "valid") == found | asked


def test_sizes_count_the_cases_that_there_are() -> None:
    for part in ("valid", "test"):
        cases = held_out_cases(pl.concat(examples([SOME], PairsParams())), SOME, "sequential", part)
        assert sizes(SOME, ACTIVE, "global_time", part)["cases"] == len(cases.targets)


@pytest.mark.parametrize("active", [ACTIVE & (np.arange(10) != 7), ACTIVE[:8]])
def test_sequences_of_another_catalogue_are_refused(active: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"1 items are not active in catalogue.parquet \(first: item_index [79]\)"):
        candidate_items(SEQUENCES, active, "leave_one_out")
