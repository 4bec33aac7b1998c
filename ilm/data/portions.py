"""A long table in portions of whole users, or whole items, so that working on one takes little memory."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

ROWS = 1 << 20
"""Of a portion, about."""
PORTIONS = 32
"""At most, about: for each of them the whole table is looked through, so they grow with a very long one."""


def portions(rows: NDArray[np.integer], most: int = ROWS) -> Iterator[tuple[int, int]]:
    """Ranges (first, after the last) that cover all numbers, each with at most `most` rows, or with one number only.

    Args:
        rows: how many rows each number has, [n].
        most: rows of a portion; more, where there would be more than PORTIONS.
    """
    ends = np.cumsum(rows)
    most = max(most, int(ends[-1]) // PORTIONS) if len(ends) else most
    first, before = 0, 0
    while first < len(ends):
        after = max(first + 1, int(np.searchsorted(ends, before + most, side="right")))
        yield first, after
        first, before = after, int(ends[after - 1])


def by_users(sequences: pl.DataFrame, most: int = ROWS) -> Iterator[pl.DataFrame]:
    """Slices of the table SEQUENCES with whole users, as `portions`; no row is copied."""
    if sequences.is_empty():
        return
    users = sequences["user_index"].to_numpy()
    ends = np.append(np.flatnonzero(users[1:] != users[:-1]) + 1, len(users))
    starts = np.concatenate([[0], ends[:-1]])
    for first, after in portions(ends - starts, most):
        yield sequences[int(starts[first]) : int(ends[after - 1])]
