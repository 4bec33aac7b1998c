"""k-core, order within users, and the cut into parts."""

import collections
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilm.data.coded_log import CodedLog, count
from ilm.data.cut import cut_in_time, kth, last_two
from ilm.data.histories import tied, write_histories
from ilm.data.k_core import k_core
from ilm.data.schema import INTERACTIONS, SEQUENCES, read_table
from ilm.data.split import in_order, what_counts, with_known_items
from ilm.errors import ConfigError, DataError
from ilm.params import SplitParams

START = datetime(2020, 1, 1, tzinfo=UTC)
LEAVE_ONE_OUT = SplitParams()
GLOBAL_TIME = SplitParams(strategy="global_time", valid_fraction=0.2, test_fraction=0.2)


def log(*rows: tuple[str, str, int | None], order: bool = False) -> pl.DataFrame:
    """Interactions from (user, item, moment); moment in seconds, or as `order`."""
    users, items, moments = ([row[n] for row in rows] for n in range(3))
    times = [None if order or m is None else START + timedelta(seconds=m) for m in moments]
    columns = {"user_id": users, "item_id": items, "timestamp": times, "order": moments if order else None}
    return pl.DataFrame({name: columns.get(name) for name in INTERACTIONS}, schema=INTERACTIONS)


def histories(interactions: pl.DataFrame, params: SplitParams) -> pl.DataFrame:
    """What is written, with ids: user_id, item_id, part; by user, oldest first."""
    coded = CodedLog.of(interactions)
    users, items = (
        pl.DataFrame({index: range(len(ids)), name: ids}, schema={index: pl.Int32, name: pl.String})
        for ids, index, name in ((coded.users, "user_index", "user_id"), (coded.items, "item_index", "item_id"))
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sequences.parquet"
        write_histories(coded, what_counts(coded, params), users, items, params, path)
        table = read_table(path, SEQUENCES)
    with_ids = table.join(users, on="user_index").join(items, on="item_index").sort("user_index", "position")
    return with_ids.select("user_id", "item_id", "part")


def cut(interactions: pl.DataFrame, params: SplitParams) -> pl.Series:
    """The part of each row."""
    return cut_in_time(CodedLog.of(interactions), params).parts(interactions["timestamp"])


def items_by_user(ordered: pl.DataFrame) -> dict[str, list[str]]:
    return dict(ordered.group_by("user_id", maintain_order=True).agg("item_id").iter_rows())


def k_core_by_hand(pairs: list[tuple[str, str]], min_user: int, min_item: int) -> list[tuple[str, str]]:
    """The definition, one offender at a time."""
    while True:
        users, items = (collections.Counter(side) for side in zip(*pairs, strict=True)) if pairs else ({}, {})
        bad = [(u, i) for u, i in pairs if users[u] < min_user or items[i] < min_item]
        if not bad:
            return pairs
        pairs = (
            [pair for pair in pairs if pair[0] != bad[0][0]]
            if users[bad[0][0]] < min_user
            else [pair for pair in pairs if pair[1] != bad[0][1]]
        )


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvwxyz")), max_size=40),
    st.integers(1, 4),
    st.integers(1, 4),
)
@settings(deadline=None)
def test_k_core_is_the_definition_applied_until_stable(
    pairs: list[tuple[str, str]], min_user: int, min_item: int
) -> None:
    expected = k_core_by_hand(pairs, min_user, min_item)
    interactions = log(*[(user, item, n) for n, (user, item) in enumerate(pairs)])

    coded = CodedLog.of(interactions)

    core = k_core(coded, min_user, min_item)

    (rows,) = coded.batches("user", "item")
    assert interactions.filter(core.has(rows)).select("user_id", "item_id").rows() == expected
    assert set(coded.users.filter(core.users)) == {user for user, _ in expected}
    assert set(coded.items.filter(core.items)) == {item for _, item in expected}


def test_nothing_left_says_what_there_was() -> None:
    few = CodedLog.of(log(("a", "x", 1), ("b", "x", 2)))
    with pytest.raises(
        DataError, match=r"left of 2 \(users: 2 before, 0 after; items: 1 before.* Lower split.min_user"
    ):
        what_counts(few, SplitParams())


def test_rows_of_unknown_items_are_dropped() -> None:
    known = with_known_items(log(("a", "x", 1), ("a", "?", 2)), pl.DataFrame({"item_id": ["x", "y"]}))

    assert known["item_id"].to_list() == ["x"]


def test_histories_run_from_oldest_to_newest() -> None:
    ordered = in_order(log(("b", "x", 3), ("a", "y", 9), ("b", "z", 1), ("a", "x", 8)), LEAVE_ONE_OUT)

    assert items_by_user(ordered) == {"a": ["x", "y"], "b": ["z", "x"]}


def test_an_order_column_decides_where_it_is_given() -> None:
    both = log(("a", "x", 2), ("a", "y", 1), order=True).with_columns(timestamp=pl.Series([START, START]))

    assert items_by_user(in_order(both, LEAVE_ONE_OUT)) == {"a": ["y", "x"]}


def test_ties_are_in_neither_file_order_nor_id_order_and_always_the_same() -> None:
    names = [f"i{n:02}" for n in range(20)]
    forward = in_order(log(*[("a", name, 0) for name in names]), LEAVE_ONE_OUT)
    backward = in_order(log(*[("a", name, 0) for name in reversed(names)]), LEAVE_ONE_OUT)

    tied = forward["item_id"].to_list()
    assert tied == backward["item_id"].to_list()
    assert tied not in (names, names[::-1])
    assert tied[:4] == ["i03", "i06", "i00", "i02"]  # a change here would reorder every history there is


def test_ties_are_broken_differently_for_different_users() -> None:
    rows = [(user, f"i{n}", 0) for user in "ab" for n in range(8)]

    histories = items_by_user(in_order(log(*rows), LEAVE_ONE_OUT))

    assert histories["a"] != histories["b"]


def test_tied_are_rows_with_an_equal_moment_of_the_same_user() -> None:
    rows = pl.DataFrame({"user_index": [0, 0, 0, 1], "timestamp": [START] * 4, "order": [1, 1, 2, 2]})

    assert tied(rows, LEAVE_ONE_OUT) == 2
    assert tied(rows.with_columns(order=pl.lit(None, pl.Int64)), LEAVE_ONE_OUT) == 3


def test_leave_one_out_tests_the_last_and_validates_the_one_before() -> None:
    parts = last_two(pl.Series([0, 0, 0, 0, 1, 2, 2]))

    assert parts.to_list() == ["train", "train", "valid", "test", "test", "valid", "test"]


moments = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("uvwxyz"), st.integers(0, 60)), min_size=10)


@given(moments, st.sampled_from([0.1, 0.2, 0.3]), st.sampled_from([0.1, 0.25]))
@settings(deadline=None)
def test_global_time_never_trains_on_what_comes_after_a_held_out_moment(
    rows: list[tuple[str, str, int]], valid: float, test: float
) -> None:
    params = SplitParams(strategy="global_time", valid_fraction=valid, test_fraction=test)
    ordered = in_order(log(*rows), params)
    try:
        parts = (
            ordered.with_columns(part=cut(ordered, params))
            .group_by("part")
            .agg(pl.min("timestamp").alias("first"), pl.max("timestamp").alias("last"), pl.len())
        )
    except DataError:  # too many rows share one moment
        return
    by_part = {row["part"]: row for row in parts.iter_rows(named=True)}
    assert by_part["train"]["last"] < by_part["valid"]["first"]
    assert by_part["valid"]["last"] < by_part["test"]["first"]
    assert by_part["test"]["len"] >= round(len(rows) * test)


def test_global_time_without_ties_gives_exactly_the_fractions() -> None:
    ordered = in_order(log(*[("ab"[n % 2], f"i{n}", n) for n in range(20)]), GLOBAL_TIME)

    assert dict(cut(ordered, GLOBAL_TIME).value_counts().iter_rows()) == {"train": 12, "valid": 4, "test": 4}


def test_how_much_the_test_part_holds_does_not_move_the_valid_part() -> None:
    past = [("ab"[n % 2], f"i{n}", n) for n in range(20)]
    for later in (5, 9):
        ordered = in_order(log(*past, *[("c", f"i{n}", 99) for n in range(later)]), GLOBAL_TIME)
        assert dict(cut(ordered, GLOBAL_TIME).value_counts().iter_rows()) == {"train": 15, "valid": 5, "test": later}


def test_global_time_needs_timestamps() -> None:
    ordered = in_order(log(("a", "x", 1), ("a", "y", 2), order=True), GLOBAL_TIME)

    with pytest.raises(DataError, match="2 of 2 interactions have no timestamp .* leave_one_out"):
        cut(ordered, GLOBAL_TIME)


def test_global_time_cuts_by_timestamp_even_where_an_order_says_otherwise() -> None:
    times = [START + timedelta(seconds=n) for n in range(5)]
    both = log(*[("a", f"i{n}", 9 - n) for n in range(5)], order=True).with_columns(timestamp=pl.Series(times))

    ordered = in_order(both, GLOBAL_TIME)

    assert items_by_user(ordered) == {"a": [f"i{n}" for n in range(5)]}
    assert cut(ordered, GLOBAL_TIME).to_list() == ["train"] * 3 + ["valid", "test"]


def test_global_time_with_one_single_moment_is_refused() -> None:
    ordered = in_order(log(*[("a", f"i{n}", 0) for n in range(10)]), GLOBAL_TIME)

    with pytest.raises(DataError, match="share one moment"):
        cut(ordered, GLOBAL_TIME)


@pytest.mark.parametrize(("valid", "test"), [(0.0, 0.1), (0.1, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_fractions_that_leave_a_part_empty_are_refused(valid: float, test: float) -> None:
    params = SplitParams(strategy="global_time", valid_fraction=valid, test_fraction=test)

    with pytest.raises(ConfigError, match="must be above 0 and together below 1"):
        cut(log(*[("a", f"i{n}", n) for n in range(10)]), params)


def by_part(written: pl.DataFrame) -> dict[str, set[tuple[str, str]]]:
    return {part: set(rows.select("user_id", "item_id").rows()) for (part,), rows in written.group_by("part")}


TWO_CORE = {"min_user_interactions": 3, "min_item_interactions": 2, "valid_fraction": 0.2, "test_fraction": 0.3}
CROWD = [(user, item, 10 * n + m) for n, user in enumerate("abc") for m, item in enumerate("xyz")]
"""A core of three users and items, within the first 23 seconds."""


def test_global_time_takes_the_k_core_of_what_lies_before_the_test_part() -> None:
    """Three times after the cut and once before: by then, nobody knew that q would be liked."""
    late = [("a", "q", 91), ("b", "q", 91), ("c", "q", 91), ("d", "x", 91), ("d", "y", 91)]
    params = SplitParams(strategy="global_time", **TWO_CORE)

    parts = by_part(histories(log(("a", "q", 5), *CROWD, *late), params))

    assert ("a", "q") not in parts["train"] | parts["valid"]
    assert len(parts["train"] | parts["valid"]) == 9
    assert parts["test"] == {(user, item) for user, item, _ in late}, "what comes later stays as it came"


def test_leave_one_out_takes_the_k_core_of_everything() -> None:
    late = [("a", "q", 91), ("b", "q", 92), ("d", "x", 94)]

    params = SplitParams(**TWO_CORE)
    parts = by_part(histories(log(("a", "q", -5), *CROWD, *late), params))

    assert ("a", "q") in parts["train"]
    assert "d" not in {user for rows in parts.values() for user, _ in rows}


@pytest.mark.parametrize("users", [["a", "b"], ["new", "newer", "newest"], []])
def test_what_comes_after_the_cut_changes_nothing_before_it(users: list[str]) -> None:
    """All of the future at one moment, so that one row more does not move the cut."""
    params = SplitParams(strategy="global_time", **TWO_CORE)
    future = [(user, item, 90) for user in "abc" for item in "xy"]
    planted = [(user, "q", 90) for user in users]
    before, after = (
        histories(log(*rows, *CROWD, *future), params).filter(pl.col("part") != "test") for rows in ([], planted)
    )

    assert after.equals(before)
    assert len(before) == len(CROWD)


@given(st.lists(st.integers(-40, 40), min_size=1, max_size=60), st.data(), st.integers(2, 7))
def test_the_number_at_a_place_is_that_of_the_sorted_list(numbers: list[int], data: st.DataObject, bins: int) -> None:
    k = data.draw(st.integers(0, len(numbers) - 1))
    halves = np.array_split(np.array(numbers, dtype=np.int64), 2)

    number, below = kth(lambda: iter(halves), k, min(numbers), max(numbers), bins)

    assert number == sorted(numbers)[k]
    assert below == sum(other < number for other in numbers)


def test_numbers_far_apart_are_told_apart() -> None:
    """Microseconds since 1970, one of them of the year 1."""
    moments = np.array([-62_135_596_800_000_000, 1_700_000_000_000_001, 1_700_000_000_000_000, 1_700_000_000_000_002])
    assert kth(lambda: [moments], 2, int(moments.min()), int(moments.max())) == (1_700_000_000_000_001, 2)


def test_counts_are_of_distinct_users_and_items() -> None:
    counted = count(log(("a", "x", 1), ("a", "x", 2), ("b", "x", 3)))

    assert (counted.users, counted.items, counted.interactions) == (2, 1, 3)
