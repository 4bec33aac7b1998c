"""Histories behind one another in one array, against a list of arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilm.prompts.material import Histories

lists = st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=6)


@given(lists)
def test_each_is_what_went_in(rows: list[list[int]]) -> None:
    histories = Histories.of([np.array(row, np.int32) for row in rows])

    assert [row.tolist() for row in histories] == rows
    assert histories.lengths.tolist() == [len(row) for row in rows]
    assert all(row.dtype == np.int32 for row in histories)
    if rows:
        assert histories[np.int64(len(rows) - 1)].tolist() == histories[-1].tolist() == rows[-1]


@given(lists)
def test_any_is_asked_of_each_by_itself(rows: list[list[int]]) -> None:
    histories = Histories.of([np.array(row, np.int32) for row in rows])

    assert histories.any(histories.values > 6).tolist() == [any(item > 6 for item in row) for row in rows]


@given(lists, st.integers(1, 4))
def test_blocks_are_all_of_it_in_order(rows: list[list[int]], size: int) -> None:
    histories = Histories.of([np.array(row, np.int32) for row in rows])

    blocks = list(histories.blocks(size))

    assert [row.tolist() for _, block in blocks for row in block] == rows
    assert [list(range(len(rows)))[part] for part, _ in blocks] == [
        list(range(start, min(start + size, len(rows)))) for start in range(0, len(rows), size)
    ]


def test_beyond_the_last_there_is_none() -> None:
    with pytest.raises(IndexError):
        Histories.of([np.array([1], np.int32)])[1]
