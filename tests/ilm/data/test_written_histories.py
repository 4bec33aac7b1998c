"""The table of histories, against one made of texts with a dictionary per id; in portions of any size."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ilm.data.histories import write_histories
from ilm.data.portions import portions
from ilm.data.schema import ITEM_IDS, SEQUENCES, USER_IDS, read_table
from ilm.data.split import in_order, ordered_parts, what_counts
from ilm.params import SplitParams
from tests.ilm.data.test_histories import LEAVE_ONE_OUT, START, log


def coded(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(
        pl.col(name).cast(pl.Enum(rows[name].unique().sort())) for name in ("user_id", "item_id")
    ).select("user_id", "item_id", "timestamp", "order")


def maps(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Numbers in no order, one of them for somebody who is gone."""
    users, items = (["gone", *sorted(rows[name].unique(), reverse=True)] for name in ("user_id", "item_id"))
    return (
        pl.DataFrame({"user_index": range(len(users)), "user_id": users}, schema=USER_IDS),
        pl.DataFrame({"item_index": range(len(items)), "item_id": items}, schema=ITEM_IDS),
    )


def by_hand(rows: pl.DataFrame, users: pl.DataFrame, items: pl.DataFrame, params: SplitParams) -> list[tuple]:
    """Texts all the way, user by user."""
    number_of_user = {name: index for index, name in users.rows()}
    number_of_item = {name: index for index, name in items.rows()}
    ordered = ordered_parts(rows, params)
    return [
        (number_of_user[user], position, number_of_item[item], part)
        for user in users["user_id"]
        for position, (item, part) in enumerate(ordered.filter(user_id=user).select("item_id", "part").rows())
    ]


@pytest.mark.parametrize("strategy", ["leave_one_out", "global_time"])
@pytest.mark.parametrize("at_once", [1, 25, 10**6])
def test_histories_are_those_of_the_texts_whatever_is_sorted_at_a_time(
    tmp_path: Path, strategy: str, at_once: int
) -> None:
    rng = np.random.default_rng(0)
    draws = zip(rng.integers(0, 30, 400), rng.integers(0, 20, 400), rng.integers(0, 60, 400), strict=True)
    rows = log(*[(f"ü{u}", f"i{i}", int(m)) for u, i, m in draws])
    params = SplitParams(strategy=strategy, min_user_interactions=3, min_item_interactions=3)
    kept = what_counts(coded(rows), params)
    users, items = maps(rows)

    written = write_histories(kept, users, items, params, tmp_path / "t.parquet", at_once)

    table = read_table(tmp_path / "t.parquet", SEQUENCES)
    texts = what_counts(rows, params)
    assert table.rows() == by_hand(texts, users, items, params)
    assert written.rows == len(table)
    assert written.parts == dict(table["part"].value_counts().iter_rows())
    train = ordered_parts(texts, params).filter(part="train")
    assert written.fitted_until == train["timestamp"].max()
    moments = rows.join(texts, on=["user_id", "item_id", "timestamp"], how="semi").group_by("user_id", "timestamp")
    assert written.tied == moments.len().filter(pl.col("len") > 1)["len"].sum()


def test_equal_rows_in_another_order_give_equal_bytes(tmp_path: Path) -> None:
    rows = coded(log(*[(f"u{n % 5}", f"i{n % 7}", n // 3) for n in range(60)]))
    for name, some in (("a", rows), ("b", rows.reverse())):
        write_histories(some, *maps(rows), LEAVE_ONE_OUT, tmp_path / name, at_once=20)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_nobody_can_tell_until_when_where_one_train_row_has_an_order_only(tmp_path: Path) -> None:
    rows = log(*[(user, f"i{n}", n) for user in "ab" for n in range(4)], order=True)
    told = rows.with_columns(timestamp=pl.Series([START + timedelta(seconds=n) for n in range(7)] + [None]))
    untold = told.with_columns(timestamp=pl.Series([None] + [START + timedelta(seconds=n) for n in range(7)]))

    until = [
        write_histories(coded(some), *maps(some), LEAVE_ONE_OUT, tmp_path / "t", at_once=4).fitted_until
        for some in (told, untold)
    ]

    assert until == [START + timedelta(seconds=5), None]
    assert in_order(rows, LEAVE_ONE_OUT)["user_id"].to_list() == ["a"] * 4 + ["b"] * 4


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([3, 3, 3], [(0, 2), (2, 3)]),
        ([0, 9, 1, 0], [(0, 1), (1, 2), (2, 4)]),
        ([7], [(0, 1)]),
        ([6, 1], [(0, 1), (1, 2)]),
        ([3] * 1280, [(n, n + 40) for n in range(0, 1280, 40)]),
        ([], []),
    ],
)
def test_portions_have_six_rows_at_most_or_one_number_or_a_32nd_of_the_table(
    rows: list[int], expected: list[tuple[int, int]]
) -> None:
    assert list(portions(np.array(rows, dtype=np.int64), 6)) == expected
