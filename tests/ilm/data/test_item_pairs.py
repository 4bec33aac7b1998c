"""Co-consumed items and consumed items, counted by hand."""

import collections
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from ilm.data.item_pairs import co_consumed, consumed, item_rows
from ilm.data.schema import ITEM_ITEM, SEQUENCES, USER_ITEM


def sequences(*users: list[int], held_out: int = 0) -> pl.DataFrame:
    """Train sequences, of which the last `held_out` positions are test."""
    rows = [
        (user, position, item, "test" if position >= len(items) - held_out else "train")
        for user, items in enumerate(users)
        for position, item in enumerate(items)
    ]
    return pl.DataFrame(rows, schema=SEQUENCES, orient="row")


def neighbours_in(
    tables: list[pl.DataFrame], window: int, neighbours: int, at_once: int = 100
) -> list[tuple[int, int, int]]:
    with TemporaryDirectory() as folder:
        pieces = co_consumed(tables, item_rows(tables, 6), window, neighbours, Path(folder), at_once)
        table = pl.concat([pl.DataFrame(schema=ITEM_ITEM), *pieces])
        assert not list(Path(folder).iterdir())
    return table.rows()


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
    """Some users at a time, and the pairs of some items at a time."""
    table = sequences(*users)
    by_user = [table.filter(user_index=user) for user in range(len(users))]

    assert neighbours_in(by_user, window, neighbours, at_once) == by_hand(users, window, neighbours)


def test_neighbours_do_not_reach_over_to_the_next_user() -> None:
    assert neighbours_in([sequences([1], [2])], 1, 5) == []


def test_held_out_items_are_no_neighbours_and_not_consumed() -> None:
    table = sequences([1, 2, 3], held_out=1)

    assert neighbours_in([table], 2, 5) == [(1, 2, 1), (2, 1, 1)]
    assert item_rows([table], 4).tolist() == [0, 1, 1, 0]
    assert pl.concat(consumed([table])).rows() == [(0, 1), (0, 2)]


def test_consumed_pairs_are_distinct_and_sorted() -> None:
    table = pl.concat(consumed([sequences([2, 1, 2], [1])]))

    assert dict(table.schema) == dict(USER_ITEM)
    assert table.rows() == [(0, 1), (0, 2), (1, 1)]
