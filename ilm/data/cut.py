"""Where a log is cut in time, and the names of what lies before and after: train, valid, test."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.data.coded_log import CodedLog
from ilm.data.schema import PART
from ilm.errors import ConfigError, DataError
from ilm.params import SplitParams

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BINS = 1 << 20


@dataclass(frozen=True)
class Cut:
    """Two moments: from the one on, interactions are of the valid part, from the other on, of the test part."""

    valid_from: datetime
    test_from: datetime

    def known(self, rows: pl.DataFrame) -> NDArray[np.bool_]:
        """Whether each row comes before the test part, [rows]."""
        return (rows["timestamp"] < self.test_from).to_numpy()

    def parts(self, times: pl.Series) -> pl.Series:
        """The part of each moment, PART [rows]."""
        test = times >= self.test_from
        return _named(valid=(times >= self.valid_from) & ~test, test=test)


def cut_in_time(log: CodedLog, params: SplitParams) -> Cut:
    """The moments after which the wanted shares of all rows lie; equal moments stay together. The earlier one is found
    without the test part: what it holds, nobody knows yet.

    Args:
        log: gone through several times.
        params: section `split`.

    Raises:
        ConfigError: the fractions leave nothing to train on.
        DataError: missing timestamps, or a part would be empty.
    """
    if params.valid_fraction + params.test_fraction >= 1 or params.test_fraction == 0 or params.valid_fraction == 0:
        raise ConfigError(
            f"params.yaml: split.valid_fraction ({params.valid_fraction}) and split.test_fraction "
            f"({params.test_fraction}) must be above 0 and together below 1. Try 0.1 and 0.1."
        )
    moment = pl.col("timestamp").to_physical()
    facts = {"rows": moment.len(), "missing": moment.null_count(), "first": moment.min(), "last": moment.max()}
    found = pl.concat([batch.select(**facts) for batch in log.batches("timestamp")])
    rows, missing, *span = found.select(pl.sum("rows", "missing"), pl.min("first"), pl.max("last")).row(0)
    if missing:
        raise DataError(
            f"split.strategy is global_time, but {missing:,} of {rows:,} interactions have no "
            "timestamp (only an order). Add timestamps, or set split.strategy: leave_one_out in params.yaml."
        )

    def moments() -> Iterator[NDArray[np.int64]]:
        return (batch["timestamp"].to_physical().to_numpy() for batch in log.batches("timestamp"))

    test_from, past = kth(moments, rows - max(1, round(rows * params.test_fraction)), *span)
    valid_rows = max(1, round(past * params.valid_fraction / (1 - params.test_fraction)))
    valid_from = kth(moments, past - valid_rows, *span)[0] if valid_rows <= past else test_from
    empty = [name for name, is_so in (("train", valid_from <= span[0]), ("valid", valid_from == test_from)) if is_so]
    if empty:
        raise DataError(
            f"split.strategy is global_time, but too many interactions share one moment: {' and '.join(empty)} would "
            "be empty. Check the timestamps, or set split.strategy: leave_one_out in params.yaml."
        )
    return Cut(*(_EPOCH + timedelta(microseconds=moment) for moment in (valid_from, test_from)))


def kth(
    numbers: Callable[[], Iterable[NDArray[np.int64]]], k: int, low: int, high: int, bins: int = _BINS
) -> tuple[int, int]:
    """The number that stands at place k (from 0) of all, sorted, and how many are smaller than it.

    Counts them in bins, looks closer at the bin that place k falls into, and so on: nothing is sorted, or kept.

    Args:
        numbers: gives all of them, some at a time, for every look.
        k: the place.
        low: the smallest.
        high: the largest.
        bins: counters, at least 2.
    """
    below = 0
    while low < high:
        width = (high - low) // bins + 1
        counts = np.zeros(bins, dtype=np.int64)
        for some in numbers():
            counts += np.bincount((some[(some >= low) & (some <= high)] - low) // width, minlength=bins)
        ends = below + np.cumsum(counts)
        place = int(np.searchsorted(ends, k, side="right"))
        below = int(ends[place] - counts[place])
        low, high = low + place * width, min(high, low + (place + 1) * width - 1)
    return low, below


def last_two(users: pl.Series) -> pl.Series:
    """The part of each row of users in order, PART [rows]: the last of a user is for test, the one before for valid."""
    after = users.to_frame("user").select(pl.int_range(pl.len()).reverse().over("user")).to_series()
    return _named(valid=after == 1, test=after == 0)


def _named(*, valid: pl.Series, test: pl.Series) -> pl.Series:
    train_, valid_, test_ = (pl.lit(name, dtype=PART) for name in PART.categories)
    names = pl.when("test").then(test_).when("valid").then(valid_).otherwise(train_)
    return pl.select(test=test, valid=valid).select(part=names).to_series()
