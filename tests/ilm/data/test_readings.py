"""Raw columns become typed ones; what cannot be read is null, and a column without any readable value is refused."""

import math
from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilm.data.readings import read_ids, read_orders, read_ratings, read_text, read_timestamps
from ilm.errors import DataError

MOMENT = datetime(2015, 1, 31, 10, 11, 12, tzinfo=UTC)
SECONDS = int(MOMENT.timestamp())


@pytest.mark.parametrize(
    "column",
    [
        pl.Series(["1", "20", None]),
        pl.Series([1, 20, None], dtype=pl.Int32),
        pl.Series([1.0, 20.0, None]),
        pl.Series([1.0, 20.0, float("nan")]),
        pl.Series(["1.0", "20.0", ""]),
        pl.Series([" 1", "20 ", "  "]),
        pl.Series(["1", "20", None], dtype=pl.Categorical),
        pl.Series([1, 20, None]).cast(pl.Decimal(38, 0)),
    ],
)
def test_ids_of_any_type_are_the_same_text(column: pl.Series) -> None:
    assert read_ids(column, "f").to_list() == ["1", "20", None]


def test_an_id_column_of_nan_alone_is_missing_throughout() -> None:
    assert read_ids(pl.Series([None, float("nan")]), "f").to_list() == [None, None]


def test_text_ids_that_only_sometimes_end_in_point_zero_are_left_alone() -> None:
    assert read_ids(pl.Series(["1.0", "v1.0"]), "f").to_list() == ["1.0", "v1.0"]


@pytest.mark.parametrize("form", ["2015-01-31T10:11:12", "2015-01-31 10:11:12", "2015-01-31T10:11:12Z"])
def test_a_column_all_of_one_common_form_reads_as_it_does_among_others(form: str) -> None:
    values = [form, form.replace("01-31", "02-30"), form.replace("10:11", "24:11"), form.replace("11:12", "11:60")]

    alone = read_timestamps(pl.Series([*values, None]), "f").to_list()

    assert alone == read_timestamps(pl.Series([*values, None, "2015-01-31"]), "f").to_list()[:-1]
    assert alone[0] == MOMENT


@pytest.mark.parametrize("values", [[1.5], [True], [[1]], [date(2020, 1, 1)], [b"x"], [2.0**60]])
def test_types_that_cannot_be_ids_are_refused(values: list[object]) -> None:
    with pytest.raises(DataError, match=r"interactions\.csv, column user: ids must be text or whole numbers"):
        read_ids(pl.Series(values), "interactions.csv, column user")


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([MOMENT]),
        pl.Series([MOMENT.replace(tzinfo=None)]),
        pl.Series([MOMENT]).dt.convert_time_zone("Asia/Tokyo").dt.cast_time_unit("ns"),
        pl.Series([SECONDS]),
        pl.Series([SECONDS * 1000]),
        pl.Series([float(SECONDS)]),
        pl.Series([str(SECONDS)]),
        pl.Series([f"{SECONDS}.0"]),
        pl.Series([str(SECONDS * 1000)]),
        pl.Series(["2015-01-31T10:11:12"]),
        pl.Series(["2015-01-31 10:11:12.000"]),
        pl.Series(["2015-01-31T10:11:12Z"]),
        pl.Series(["2015-01-31T12:11:12+02:00"]),
        pl.Series([" 2015-01-31 05:11:12-0500 "]),
    ],
)
def test_a_moment_is_read_from_every_form(column: pl.Series) -> None:
    assert read_timestamps(column, "f").to_list() == [MOMENT]


def test_dates_are_midnight_in_utc() -> None:
    midnight = [datetime(2015, 1, 31, tzinfo=UTC)]
    assert read_timestamps(pl.Series([date(2015, 1, 31)]), "f").to_list() == midnight
    assert read_timestamps(pl.Series(["2015-01-31"]), "f").to_list() == midnight


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))
@settings(max_examples=50, deadline=None)
def test_iso_text_is_read_as_python_reads_it(moment: datetime) -> None:
    assert read_timestamps(pl.Series([moment.isoformat()]), "f").to_list() == [moment.replace(tzinfo=UTC)]


def test_single_unreadable_moments_are_null() -> None:
    column = pl.Series(["2015-01-31", "31.1.2015", "2015-02-30", "", None, "2015-01-31T25:00:00"])

    assert read_timestamps(column, "f").is_null().to_list() == [False, True, True, True, True, True]


def test_numbers_beyond_the_calendar_are_null() -> None:
    assert read_timestamps(pl.Series([SECONDS, SECONDS, SECONDS, 10**15, -(10**15)]), "f").null_count() == 2


@pytest.mark.parametrize("values", [["yesterday", "today"], [True, False], [[1], [2]], [b"x", b"y"]])
def test_a_column_without_any_moment_is_refused_with_an_example(values: list[object]) -> None:
    with pytest.raises(DataError, match="not readable as timestamps .*for example .* Give datetimes, ISO text"):
        read_timestamps(pl.Series(values), "f")


def test_epoch_microseconds_are_refused_rather_than_guessed() -> None:
    with pytest.raises(DataError, match="finer than milliseconds"):
        read_timestamps(pl.Series([SECONDS * 10**6]), "f")


def test_orders_are_whole_numbers() -> None:
    assert read_orders(pl.Series(["3", "1.5", "x", None]), "f").to_list() == [3, None, None, None]
    assert read_orders(pl.Series([3.0, 4.0]), "f").to_list() == [3, 4]


def test_ratings_are_finite_numbers() -> None:
    column = pl.Series(["3.5", "-1e0", "nan", "inf", "1e300", "good", None])

    assert read_ratings(column, "f").to_list() == [3.5, -1.0, None, None, None, None, None]


def test_there_is_one_zero_so_that_equal_ratings_have_equal_bytes() -> None:
    ratings = read_ratings(pl.Series(["-0.0", "0"]), "f")

    assert [math.copysign(1, rating) for rating in ratings] == [1, 1]


def test_a_part_of_a_file_may_have_bad_ratings_only() -> None:
    assert read_ratings(pl.Series(["x", "1e300"]), "f", all_may_be_bad=True).to_list() == [None, None]


@pytest.mark.parametrize("read", [read_orders, read_ratings])
@pytest.mark.parametrize("values", [["good", "bad"], [True], [[1.0]]])
def test_numbers_that_are_none_at_all_are_refused(read, values: list[object]) -> None:
    with pytest.raises(DataError, match="but no value is one"):
        read(pl.Series(values), "f")


@pytest.mark.parametrize("read", [read_ids, read_timestamps, read_orders, read_ratings])
def test_a_column_without_values_is_null_throughout(read) -> None:
    assert read(pl.Series([None, None]), "f").null_count() == 2
    assert read(pl.Series([None, ""], dtype=pl.String), "f").null_count() == 2


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([" The\n  Heat ", "", "  "], ["The Heat", None, None]),
        ([1995.0, float("nan")], ["1995", None]),
        ([3.5, 4.0], ["3.5", "4.0"]),
        ([["Action", None, "Crime"], [], None], ["Action, Crime", None, None]),
        ([date(1995, 12, 15)], ["1995-12-15"]),
    ],
)
def test_text_is_on_one_line_and_lists_are_joined(values: list[object], texts: list[object]) -> None:
    assert read_text(pl.Series(values)).to_list() == texts


@pytest.mark.parametrize("values", [[{"a": 1}], [[{"a": 1}]], [b"x"]])
def test_what_is_nested_or_binary_is_no_text(values: list[object]) -> None:
    assert read_text(pl.Series(values)) is None
