"""Which column is which, and what its values mean, is settled once per file."""

import polars as pl
import pytest

from ilm.data.logs.blocks import Block
from ilm.data.logs.files import Rejected
from ilm.data.logs.text_blocks import no_lines
from ilm.data.logs.typed import Typing, choose_columns, names_that_count
from ilm.data.raw import ROW
from ilm.errors import ConfigError
from ilm.params import DataParams

PARAMS = DataParams(
    interaction_columns={"item_id": "sku"}, log_columns={"user_id": ["user_id", "userId"], "timestamp": ["ts"]}
)


def chosen(*there: str) -> dict[str, str]:
    return choose_columns(list(there), names_that_count(PARAMS))


def block(**columns: list[object]) -> Block:
    return Block(pl.DataFrame(columns, strict=False).with_row_index(ROW, offset=1), no_lines())


def typing(*columns: str) -> Typing:
    return Typing("a.csv", {name: name for name in columns or ("user_id", "item_id", "timestamp")})


def test_an_old_and_a_new_name_of_a_column_both_count() -> None:
    assert chosen("user_id", "sku", "ts", "more") == {"user_id": "user_id", "item_id": "sku", "timestamp": "ts"}
    assert chosen("userId", "sku", "ts")["user_id"] == "userId"


def test_json_lines_may_have_a_column_from_some_later_line_on() -> None:
    columns = choose_columns(["user_id", "sku", "ts"], names_that_count(PARAMS), more_may_come=True)

    assert columns == {"user_id": "user_id", "item_id": "sku", "timestamp": "ts"} | {
        name: name for name in ("rating", "event_id", "event_type")
    }


def test_a_renamed_column_is_refused_with_the_setting_that_would_take_it() -> None:
    with pytest.raises(Rejected, match=r"no column ts; .*log_columns: \{timestamp: \[ts, timestamp\]\}") as error:
        chosen("user_id", "sku", "timestamp")
    assert error.value.rule == "columns_missing"


@pytest.mark.parametrize("columns", [{"user": ["userId"]}, {"order": ["order"]}, {"rating": []}])
def test_settings_that_name_no_column_of_ours_or_no_name_are_refused(columns: dict[str, list[str]]) -> None:
    with pytest.raises(ConfigError, match=f"data.log_columns has {next(iter(columns))}, but"):
        names_that_count(DataParams(log_columns=columns))


def test_two_columns_that_may_be_the_same_one_are_refused() -> None:
    with pytest.raises(Rejected, match="user_id and userId are both there") as error:
        chosen("user_id", "userId", "sku", "ts")
    assert error.value.rule == "columns_ambiguous"


def test_an_order_of_a_log_file_is_not_read() -> None:
    assert "order" not in chosen("user_id", "sku", "ts", "order")


def test_values_of_mixed_types_become_the_same_ids() -> None:
    ids = [
        typing().read(block(user_id=values, item_id=["i"], timestamp=["2024-05-01"]))["user_id"].to_list()
        for values in ([12], [12.0], ["12"], [" 12 "], ["12.0"])
    ]
    assert ids == [["12"]] * 5


def test_what_the_first_part_means_holds_for_later_ones() -> None:
    reading = typing()
    first = block(user_id=["1.0", "2.0"], item_id=["a", "b"], timestamp=["1700000000000", "1700000001000"])
    later = block(user_id=["3.0", "x"], item_id=["7.0", "8.0"], timestamp=["1700000002000", "12"])

    assert reading.read(first)["user_id"].to_list() == ["1", "2"]
    rows = reading.read(later)

    assert rows["user_id"].to_list() == ["3", "x"]
    assert rows["item_id"].to_list() == ["7.0", "8.0"], "the first part's ids had no .0"
    assert rows["timestamp"].dt.epoch("s").to_list() == [1_700_000_002, 0]


def test_a_part_without_a_readable_timestamp_settles_nothing() -> None:
    reading = typing()
    nothing = block(user_id=["u"], item_id=["i"], timestamp=["soon"])
    numbers = block(user_id=["u"], item_id=["i"], timestamp=["1700000000"])

    assert reading.read(nothing)["timestamp"].to_list() == [None]
    assert reading.read(numbers)["timestamp"].dt.epoch("s").to_list() == [1_700_000_000]


@pytest.mark.parametrize(
    "columns",
    [{"user_id": [[1]]}, {"user_id": [1.5]}, {"timestamp": [True]}, {"timestamp": [1_700_000_000_000_000_000]}],
)
def test_a_column_that_cannot_be_what_it_should_be_rejects_the_file(columns: dict[str, list[object]]) -> None:
    good: dict[str, list[object]] = {"user_id": ["u"], "item_id": ["i"], "timestamp": [1_700_000_000]}

    with pytest.raises(Rejected) as error:
        typing().read(block(**good | columns))
    assert error.value.rule == "column_unreadable"
