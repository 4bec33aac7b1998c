"""Co-consumed items and consumed items, counted by hand."""

import collections

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilm.data.item_pairs import co_consumed, consumed
from ilm.data.schema import ITEM_ITEM, SEQUENCES, USER_ITEM


def sequences(*users: list[int], held_out: int = 0) -> pl.DataFrame:
    """Train sequences, of which the last `held_out` positions are test."""
    rows = [
        (user, position, item, "test" if position >= len(items) - held_out else "train")
        for user, items in enumerate(users)
        for position, item in enumerate(items)
    ]
    return pl.DataFrame(rows, schema=SEQUENCES, orient="row")


def by_hand(users: list[list[int]], window: int, neighbours: int) -> list[tuple[int, int, int]]:
    """Loops over all pairs of positions."""
    counts: dict[int, collections.Counter[int]] = collections.defaultdict(collections.Counter)
    for items in users:
        for a, left in enumerate(items):
            for b, right in enumerate(items):
                if 0 < abs(a - b) <= window and left != right:
                    counts[left][right] += 1
    return [
        (item, other, number)
        for item in sorted(counts)
        for other, number in sorted(counts[item].items(), key=lambda pair: (-pair[1], pair[0]))[:neighbours]
    ]


@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8), min_size=1, max_size=5),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 12),
)
@settings(deadline=None)
def test_neighbours_equal_the_loop_over_all_pairs(
    users: list[list[int]], window: int, neighbours: int, at_once: int
) -> None:
    table = co_consumed(sequences(*users), window, neighbours, at_once)

    assert dict(table.schema) == dict(ITEM_ITEM)
    assert table.rows() == by_hand(users, window, neighbours)


def test_neighbours_do_not_reach_over_to_the_next_user() -> None:
    assert co_consumed(sequences([1], [2]), 1, 5).is_empty()


def test_held_out_items_are_no_neighbours_and_not_consumed() -> None:
    table = sequences([1, 2, 3], held_out=1)

    assert co_consumed(table, 2, 5).rows() == [(1, 2, 1), (2, 1, 1)]
    assert pl.concat(consumed(table)).rows() == [(0, 1), (0, 2)]


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_consumed_pairs_are_distinct_and_sorted(at_once: int) -> None:
    table = pl.concat(consumed(sequences([2, 1, 2], [1]), at_once))

    assert dict(table.schema) == dict(USER_ITEM)
    assert table.rows() == [(0, 1), (0, 2), (1, 1)]
