"""Rows come back from their bucket, in order; portions cover all numbers."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ilm.data.buckets import MOST_BUCKETS, Buckets, portions, runs


def test_rows_come_back_from_their_bucket_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    buckets = Buckets(tmp_path)
    buckets.add(pl.DataFrame({"n": [1, 2, 3], "text": ["a", "ü", None]}), np.array([7, 0, 7]))
    buckets.add(pl.DataFrame({"n": [4, 5], "text": ["d", "e"]}), np.array([7, 7]))
    buckets.add(pl.DataFrame({"n": [], "text": []}, schema={"n": pl.Int64, "text": pl.String}), np.array([], dtype=int))

    (found,) = buckets.take(7)

    assert found.rows() == [(1, "a"), (3, None), (4, "d"), (5, "e")]
    assert buckets.take(3) == []
    assert [frame.rows() for frame in buckets.take(0)] == [[(2, "ü")]]
    assert buckets.take(0) == [], "taken once"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([3, 3, 3], [(0, 2), (2, 3)]),
        ([0, 9, 1, 0], [(0, 1), (1, 2), (2, 4)]),
        ([7], [(0, 1)]),
        ([6, 1], [(0, 1), (1, 2)]),
        ([], []),
    ],
)
def test_portions_have_six_rows_at_most_or_one_number(rows: list[int], expected: list[tuple[int, int]]) -> None:
    assert portions(np.array(rows, dtype=np.int64), 6) == expected


@pytest.mark.parametrize("rows", [[1] * 10_000, [4] * 10_000, [1, 7] * 5_000, [1000, 1] * 500])
def test_there_are_never_more_portions_than_files_may_be_open(rows: list[int]) -> None:
    found = portions(np.array(rows, dtype=np.int64), 6)

    assert len(found) <= MOST_BUCKETS
    assert [first for first, _ in found] == [0, *(after for _, after in found[:-1])]
    assert found[-1][1] == len(rows)


def test_runs_are_where_equal_numbers_stand_together() -> None:
    firsts, ends = runs(np.array([4, 4, 1, 9, 9, 9]))
    assert (firsts.tolist(), ends.tolist()) == ([0, 2, 3], [2, 3, 6])
    assert [side.tolist() for side in runs(np.array([], dtype=int))] == [[], []]
