"""Batches of histories as one array."""

import numpy as np
import pytest

from ilm.baselines.histories import flat, history_matrix
from ilm.errors import DataError

HISTORIES = [np.array(items, np.int32) for items in ([2, 0, 2], [], [1])]


def test_histories_lie_one_behind_the_other() -> None:
    items, bounds = flat(HISTORIES, 3)
    assert items.tolist() == [2, 0, 2, 1]
    assert bounds.tolist() == [0, 3, 3, 4]


def test_weights_fall_with_age_and_add_up_where_an_item_returns() -> None:
    weights = history_matrix(HISTORIES, 4, decay=0.5).toarray()
    assert weights.tolist() == [[0.5, 0, 1.25, 0], [0, 0, 0, 0], [0, 1, 0, 0]]


def test_binary_matrix_counts_an_item_once() -> None:
    assert history_matrix(HISTORIES, 3, binary=True).toarray().tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_no_histories_give_no_rows() -> None:
    assert history_matrix([], 3).shape == (0, 3)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_item_outside_the_catalogue_is_refused_and_its_history_named(wrong: int) -> None:
    histories = [*HISTORIES, np.array([0, wrong], np.int32)]
    with pytest.raises(DataError, match=f"history 3: item_index {wrong} is outside the catalogue of 3"):
        flat(histories, 3)
