"""A batch of histories as one array, so that no recommender here loops over users or items."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ilm.errors import DataError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def flat(histories: Sequence[NDArray[np.int32]], n_items: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All items [total], history by history, and where each history starts and the last one ends [batch + 1].

    Raises:
        DataError: a history names an item_index outside the catalogue.
    """
    bounds = np.cumsum([0, *(len(history) for history in histories)], dtype=np.int64)
    items = np.concatenate([np.zeros(0, np.int64), *histories]).astype(np.int64)
    wrong = np.flatnonzero((items < 0) | (items >= n_items))
    if wrong.size:
        row = np.searchsorted(bounds, wrong[0], side="right") - 1
        raise DataError(
            f"history {row}: item_index {items[wrong[0]]} is outside the catalogue of {n_items:,} items. "
            "The history and the recommender come from different id maps: run `dvc repro`."
        )
    return items, bounds


def history_matrix(
    histories: Sequence[NDArray[np.int32]], n_items: int, decay: float = 0.0, binary: bool = False
) -> "csr_matrix":
    """Sparse [batch, n_items]: how much an item weighs in a history.

    Args:
        histories: item indexes, oldest first.
        n_items: in the catalogue.
        decay: share of its weight that an item loses with each later one; the latest weighs 1.
        binary: an item that occurs more than once weighs 1, too, not the sum.
    """
    from scipy.sparse import csr_matrix

    items, bounds = flat(histories, n_items)
    ages = np.repeat(bounds[1:], np.diff(bounds)) - 1 - np.arange(len(items))
    matrix = csr_matrix(((1.0 - decay) ** ages, items, bounds), shape=(len(histories), n_items))
    matrix.sum_duplicates()
    if binary:
        matrix.data[:] = 1.0
    return matrix
