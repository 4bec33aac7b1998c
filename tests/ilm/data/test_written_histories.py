"""The table of histories, against one made of texts by loops; in portions of any size."""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from ilm.data.coded_log import CodedLog
from ilm.data.histories import Written, write_histories
from ilm.data.schema import ITEM_IDS, SEQUENCES, USER_IDS, read_table
from ilm.data.split import in_order, what_counts
from ilm.params import SplitParams
from tests.ilm.data.test_coded_log import interactions
from tests.ilm.data.test_histories import LEAVE_ONE_OUT, START, k_core_by_hand, log

assert interactions  # a fixture


def maps(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Numbers in no order, one of them for somebody who is gone."""
    users, items = (["gone", *sorted(rows[name].unique(), reverse=True)] for name in ("user_id", "item_id"))
    return (
        pl.DataFrame({"user_index": range(len(users)), "user_id": users}, schema=USER_IDS),
        pl.DataFrame({"item_index": range(len(items)), "item_id": items}, schema=ITEM_IDS),
    )


def write(rows: pl.DataFrame, params: SplitParams, path: Path, at_once: int) -> Written:
    coded = CodedLog.of(rows)
    return write_histories(coded, what_counts(coded, params), *maps(rows), params, path, at_once)


def by_hand(rows: pl.DataFrame, params: SplitParams) -> dict[str, list[tuple[str, str, datetime]]]:
    """User -> (item, part, moment), oldest first."""
    by_time = params.strategy == "global_time"
    times = rows["timestamp"].sort()
    test_from = times[len(times) - round(len(times) * params.test_fraction)]
    past = times.filter(times < test_from)
    valid_from = past[len(past) - round(len(past) * params.valid_fraction / (1 - params.test_fraction))]
    early = rows.filter(pl.col("timestamp") < test_from) if by_time else rows
    least = (params.min_user_interactions, params.min_item_interactions)
    core = set(k_core_by_hand(early.select("user_id", "item_id").rows(), *least))
    histories: dict[str, list[tuple[str, str, datetime]]] = {}
    for user, item, moment in in_order(rows, params).select("user_id", "item_id", "timestamp").rows():
        late = by_time and moment >= test_from
        if late or (user, item) in core:
            part = "test" if late else "valid" if by_time and moment >= valid_from else "train"
            histories.setdefault(user, []).append((item, part, moment))
    if not by_time:
        for history in histories.values():
            history[-2:] = [(*history[-2][:1], "valid", history[-2][2]), (*history[-1][:1], "test", history[-1][2])]
    return histories


@pytest.mark.parametrize("strategy", ["leave_one_out", "global_time"])
@pytest.mark.parametrize("at_once", [1, 25, 10**6])
def test_histories_are_those_of_the_texts_whatever_is_sorted_at_a_time(
    interactions: pl.DataFrame, tmp_path: Path, strategy: str, at_once: int
) -> None:
    params = SplitParams(strategy=strategy, min_user_interactions=12, min_item_interactions=3)
    users, items = ({name: index for index, name in ids.rows()} for ids in maps(interactions))

    written = write(interactions, params, tmp_path / "t.parquet", at_once)

    expected = by_hand(interactions, params)
    table = read_table(tmp_path / "t.parquet", SEQUENCES)
    assert table.rows() == [
        (index, position, items[item], part)
        for user, index in users.items()
        for position, (item, part, _) in enumerate(expected.get(user, []))
    ]
    assert written.rows == len(table) < len(interactions)
    assert written.parts == dict(table["part"].value_counts().iter_rows())
    assert written.fitted_until == max(
        moment for rows in expected.values() for _, part, moment in rows if part == "train"
    )
    moments = [(user, moment) for user, rows in expected.items() for _, _, moment in rows]
    assert written.tied == sum(moments.count(moment) > 1 for moment in moments) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"], "what was dealt out is gone"


def test_equal_rows_in_another_order_give_equal_bytes(tmp_path: Path) -> None:
    rows = log(*[(f"u{n % 5}", f"i{n % 7}", n // 3) for n in range(60)])
    for name, some in (("a", rows), ("b", rows.reverse())):
        write(some, LEAVE_ONE_OUT, tmp_path / name, at_once=20)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_nobody_can_tell_until_when_where_one_train_row_has_an_order_only(tmp_path: Path) -> None:
    rows = log(*[(user, f"i{n}", n) for user in "ab" for n in range(4)], order=True)
    params = SplitParams(min_user_interactions=3, min_item_interactions=1)
    told = rows.with_columns(timestamp=pl.Series([START + timedelta(seconds=n) for n in range(7)] + [None]))
    untold = told.with_columns(timestamp=pl.Series([None] + [START + timedelta(seconds=n) for n in range(7)]))

    until = [write(some, params, tmp_path / "t", at_once=4).fitted_until for some in (told, untold)]

    assert until == [START + timedelta(seconds=5), None]


def test_what_a_killed_run_left_on_disk_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".t.scratch" / "7.arrow"
    left.parent.mkdir()
    left.write_bytes(b"half")

    write(log(*[(f"u{n % 5}", f"i{n % 7}", n) for n in range(60)]), LEAVE_ONE_OUT, tmp_path / "t", at_once=20)

    assert not left.parent.exists()
