"""A column as the user's file has it -> the type that the pipeline wants.

A single value that cannot be read becomes null, and a rule of `ilm.data.rules` sets its row aside. A column of which
no value can be read is a mistake about the whole column: DataError.

What a column's values mean as a whole (seconds or milliseconds, "12.0" for 12) is its form. A file that is read in
parts keeps the form of its first part; in a part, nothing readable is no mistake about the whole column.
"""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from ilm.errors import DataError

MILLISECONDS_FROM = 10**11
"""Numbers count as epoch milliseconds if their median is at least this (as seconds: the year 5138), else as seconds."""
MICROSECONDS_FROM = 10**14
"""A median from here on is finer than milliseconds: refused, because the unit would be a guess."""

_ISO = r"^(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2})(:\d{2})?(\.\d{1,9})?\s*(Z|z|UTC|[+-]\d{2}:?\d{2})?)?$"
_WHOLE_SECONDS = {
    r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$": "%Y-%m-%dT%H:%M:%S",
    r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$": "%Y-%m-%d %H:%M:%S",
    r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$": "%Y-%m-%dT%H:%M:%SZ",
}
_NUMBER = r"^[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$"
_LARGEST_EXACT = 2**53
_EPOCH_YEARS = (-62_135_596_800, 253_402_300_799)
"""Epoch seconds of the years 1 to 9999, which is what dates can express."""


TimeForm = Literal["text", "seconds", "milliseconds"]


@dataclass(frozen=True)
class Forms:
    """How one file writes what its columns alone do not say; judged by its first part."""

    timestamp: TimeForm
    decimal: frozenset[str]
    """Columns of ids that are text, and all of them whole numbers with ".0"."""


def ids_are_decimal(column: pl.Series) -> bool:
    """Whether ids are text, and every one is a whole number with ".0", as spreadsheets and data frames write them."""
    return _is_text(column) and _all(_stripped(column).str.contains(r"^\d+\.0+$"))


def read_ids(column: pl.Series, where: str, decimal: bool | None = None) -> pl.Series:
    """Ids as text without surrounding blanks. Whole numbers never end in ".0", even where the file has floats.

    Args:
        column: as in the file.
        where: file and column, for messages.
        decimal: the form; None: judged here, by `ids_are_decimal`.

    Raises:
        DataError: the type cannot be an id (truth values, dates, fractions, lists, …).
    """
    if _is_text(column):
        ids = _stripped(column)
        strip = ids_are_decimal(column) if decimal is None else decimal
        return ids.str.replace(r"^(\d+)\.0+$", "$1") if strip else ids
    if column.dtype.is_float():
        numbers = column.cast(pl.Float64).fill_nan(None)
        if numbers.count() == 0 or _all((numbers == numbers.round()) & (numbers.abs() < _LARGEST_EXACT)):
            return numbers.cast(pl.Int64).cast(pl.String)
    elif _is_whole(column) or column.dtype == pl.Null:
        return column.cast(pl.String)
    raise DataError(f"{where}: ids must be text or whole numbers, not {column.dtype}. Convert the column to text.")


def read_timestamps(column: pl.Series, where: str, form: TimeForm | None = None) -> pl.Series:
    """Moments in UTC, microseconds; unreadable values and years outside 1 to 9999 are null.

    Read are: dates and datetimes (without a zone: UTC), ISO 8601 text ("2015-01-31", "2015-01-31 10:11:12.5+02:00"),
    and epoch numbers, as numbers or as text; `MILLISECONDS_FROM` decides on seconds or milliseconds per column.

    Args:
        column: as in the file.
        where: file and column, for messages.
        form: of the file's first part; None: judged here, by `time_form`.

    Raises:
        DataError: no value can be read (unless `form` is given), or the numbers are finer than milliseconds.
    """
    moments = _moments(column, time_form(column, where) if form is None else form)
    if moments is None or (form is None and _count_given(column) and moments.null_count() == len(moments)):
        raise DataError(
            f"{where}: not readable as timestamps ({column.dtype}, for example {_example(column)}). Give datetimes, "
            "ISO text such as 2015-01-31T10:11:12, or epoch seconds or milliseconds; or give a column `order` instead."
        )
    return moments


def time_form(column: pl.Series, where: str) -> TimeForm:
    """How a column writes moments; "text" also for dates and datetimes, which need no form.

    Raises:
        DataError: the numbers are finer than milliseconds.
    """
    if _is_text(column):
        numbers = _numbers(column)
        if numbers.count() <= (_stripped(column).str.contains(_ISO).sum() or 0):
            return "text"
    elif column.dtype.is_numeric():
        numbers = _numbers(column)
    else:
        return "text"
    median = numbers.abs().median()
    if isinstance(median, int | float) and median >= MICROSECONDS_FROM:
        raise DataError(
            f"{where}: numbers around {median:.0f} are finer than milliseconds. Divide them to epoch seconds "
            "or milliseconds."
        )
    return "milliseconds" if isinstance(median, int | float) and median >= MILLISECONDS_FROM else "seconds"


def read_orders(column: pl.Series, where: str) -> pl.Series:
    """Positions within a user's history as int64; values that are not whole numbers are null.

    Raises:
        DataError: no value is a whole number.
    """
    numbers = _numbers(column)
    if numbers.dtype.is_float():
        whole = (pl.col("t") == pl.col("t").round()) & (pl.col("t").abs() < _LARGEST_EXACT)
        numbers = numbers.to_frame("t").select(pl.when(whole).then("t").cast(pl.Int64)).to_series()
    return _readable(column, numbers, where, "order must be a whole number")


def read_ratings(column: pl.Series, where: str, *, all_may_be_bad: bool = False) -> pl.Series:
    """Ratings as float32; values that are not finite numbers are null.

    Raises:
        DataError: no value is a number, unless `all_may_be_bad`, as in a part of a file.
    """
    narrow = pl.col("t").cast(pl.Float32)
    one_zero = pl.when(narrow == 0).then(pl.lit(0.0, pl.Float32)).when(narrow.is_finite()).then(narrow)  # never -0.0
    ratings = _numbers(column).to_frame("t").select(one_zero).to_series()
    return ratings if all_may_be_bad else _readable(column, ratings, where, "rating must be a number")


def read_text(column: pl.Series) -> pl.Series | None:
    """Text on one line, blank as null; numbers and dates as they print, lists joined by ", ".

    None for types that are no text: structures, bytes, lists of such.
    """
    kind = column.dtype
    if isinstance(kind, pl.List | pl.Array):
        if kind.inner.is_nested() or kind.inner in (pl.Binary, pl.Object):
            return None
        lists = column.cast(pl.List(pl.String)).list.drop_nulls()
        return read_text(lists.list.join(", "))
    if kind.is_float():
        numbers = column.cast(pl.Float64).fill_nan(None)
        whole = _all((numbers == numbers.round()) & (numbers.abs() < _LARGEST_EXACT))
        return (numbers.cast(pl.Int64) if whole else column.fill_nan(None)).cast(pl.String)
    if _is_text(column):
        return _stripped(column.cast(pl.String).str.replace_all(r"\s+", " "))
    if kind.is_nested() or kind in (pl.Binary, pl.Object):
        return None
    return column.cast(pl.String)


def given(column: pl.Series) -> pl.Series:
    """Whether each value is there at all (not null, not blank text), readable or not."""
    return _stripped(column).is_not_null() if _is_text(column) else column.is_not_null()


def _moments(column: pl.Series, form: TimeForm) -> pl.Series | None:
    kind = column.dtype
    if isinstance(kind, pl.Datetime):
        zoned = column.dt.convert_time_zone("UTC") if kind.time_zone else column.dt.replace_time_zone("UTC")
        moments = zoned.dt.cast_time_unit("us")
    elif kind == pl.Date:
        moments = column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    elif form != "text":
        return _from_epoch(_numbers(column), 1000 if form == "milliseconds" else 1)
    elif _is_text(column):
        moments = _from_iso(_stripped(column))
    else:
        return column.cast(pl.Datetime("us", "UTC")) if kind == pl.Null else None
    return moments.to_frame("t").select(pl.when(pl.col("t").dt.year().is_between(1, 9999)).then("t")).to_series()


def _from_iso(texts: pl.Series) -> pl.Series:
    """Every ISO form is first completed to one fixed form: polars' own guess looks at the first value only."""
    for pattern, fixed in _WHOLE_SECONDS.items():  # what most logs have takes a tenth of the time
        if _all(texts.str.contains(pattern)):
            return texts.str.to_datetime(fixed, time_unit="us", strict=False).dt.replace_time_zone("UTC")
    part = pl.col("t").str.extract_groups(_ISO).struct
    zone = part.field("5")
    complete = pl.concat_str(
        part.field("1"),
        pl.lit("T"),
        part.field("2").fill_null("00:00"),
        part.field("3").fill_null(":00"),
        part.field("4").fill_null(""),
        pl.when(zone.str.contains(r"^[+-]")).then(zone).otherwise(pl.lit("+00:00")),
    )
    form = "%Y-%m-%dT%H:%M:%S%.f%z"
    return texts.to_frame("t").select(complete.str.to_datetime(form, time_unit="us", strict=False)).to_series()


def _from_epoch(numbers: pl.Series, per_second: int) -> pl.Series:
    """Epoch numbers (Int64 or Float64) to moments."""
    first, last = (limit * per_second for limit in _EPOCH_YEARS)
    possible = pl.when(pl.col("t").is_between(first, last)).then("t")
    microseconds = (possible * (1_000_000 // per_second)).round().cast(pl.Int64)
    return numbers.to_frame("t").select(microseconds.cast(pl.Datetime("us", "UTC"))).to_series()


def _numbers(column: pl.Series) -> pl.Series:
    """Finite numbers as Int64 where the whole column is whole, else as Float64; what is no number is null."""
    if _is_text(column):
        texts = _stripped(column)
        whole = texts.str.contains(r"^[+-]?\d{1,18}$")
        if _all(whole):
            return texts.cast(pl.Int64)
        readable = texts.to_frame("t").select(pl.when(pl.col("t").str.contains(_NUMBER)).then("t")).to_series()
        numbers = readable.cast(pl.Float64, strict=False)
    elif _is_whole(column):
        return column.cast(pl.Int64, strict=False)
    elif column.dtype.is_numeric():
        numbers = column.cast(pl.Float64)
    else:
        return pl.Series(column.name, [None] * len(column), dtype=pl.Float64)
    return numbers.to_frame("t").select(pl.when(pl.col("t").is_finite()).then("t")).to_series()


def _readable(column: pl.Series, numbers: pl.Series, where: str, wanted: str) -> pl.Series:
    """`numbers`, what was read of the column, if that is anything."""
    if _count_given(column) and numbers.null_count() == len(numbers):
        raise DataError(
            f"{where}: {wanted}, but no value is one ({column.dtype}, for example {_example(column)}). "
            "Mend the column, or map another one to it in params.yaml: data.interaction_columns."
        )
    return numbers


def _is_text(column: pl.Series) -> bool:
    return column.dtype in (pl.String, pl.Categorical, pl.Enum)


def _is_whole(column: pl.Series) -> bool:
    kind = column.dtype
    return kind.is_integer() or (isinstance(kind, pl.Decimal) and kind.scale == 0)


def _stripped(texts: pl.Series) -> pl.Series:
    """Text without surrounding blanks; null where nothing is left."""
    stripped = pl.col("t").cast(pl.String).str.strip_chars()
    return texts.to_frame("t").select(pl.when(stripped != "").then(stripped)).to_series().rename(texts.name)


def _count_given(column: pl.Series) -> int:
    return int(given(column).sum())


def _all(condition: pl.Series) -> bool:
    """True for all values that are there, and there is one."""
    return condition.count() > 0 and bool(condition.all())


def _example(column: pl.Series) -> str:
    values = column.filter(given(column)).head(1).to_list()
    return repr(values[0])[:60] if values else "no value at all"
