"""A long table in portions of whole users, or whole items, so that working on one takes little memory."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

ROWS = 1 << 22
"""Of a portion, about."""


def portions(rows: NDArray[np.integer], most: int = ROWS) -> Iterator[tuple[int, int]]:
    """Ranges (first, after the last) that cover all numbers, each with at most `most` rows, or with one number only.

    Args:
        rows: how many rows each number has, [n].
        most: rows of a portion.
    """
    ends = np.cumsum(rows)
    first, before = 0, 0
    while first < len(ends):
        after = max(first + 1, int(np.searchsorted(ends, before + most, side="right")))
        yield first, after
        first, before = after, int(ends[after - 1])
