"""The gate on change: every check passes where it should, fails where it must, and stops or warns as settings say."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from ilm.data.contract import require, summary, validate
from ilm.data.logs.batch import Batch
from ilm.data.schema import INTERACTIONS, ITEMS
from ilm.data.validation_page import render
from ilm.errors import ConfigError, DataError
from ilm.params import ValidateParams

NOW = datetime(2024, 6, 1, tzinfo=UTC)
LIMITS = ValidateParams(min_users=1, min_items=1, min_interactions=1, min_batch_rows=10, warnings=[])


def batch(**other: Any) -> Batch:
    good = {
        "files": ["a"],
        "rows": 100,
        "bad": 0,
        "first": NOW,
        "last": NOW,
        "hours": {9: 50, 10: 50},
        "types": {"view": 90, "buy": 10},
        "missing": {"rating": 10, "event_type": 0, "event_id": 100},
        "users": 10,
        "known_users": 5,
        "items": 10,
        "known_items": 9,
    }
    return Batch.model_validate(good | other)


def failures(
    new: Batch | None,
    before: Batch | None = None,
    limits: ValidateParams = LIMITS,
    last_rows: int | None = None,
    set_aside: Sequence[str] = (),
) -> list[str]:
    times = [NOW - timedelta(days=day) for day in (10, 3)]
    rows = pl.DataFrame({"user_id": ["u", "u"], "item_id": ["i", "i"], "timestamp": times})
    columns = [pl.lit(None, kind).alias(name) for name, kind in INTERACTIONS.items() if name not in rows.columns]
    interactions = rows.with_columns(*columns).select(list(INTERACTIONS)).cast(dict(INTERACTIONS))
    items = pl.DataFrame({"item_id": ["i"], "title": ["Heat"]}, schema=dict(ITEMS))
    outcomes = validate([interactions], items, limits, NOW, last_rows, (new, before), set_aside)
    failed = [f"{o.expected}; {o.observed}" for o in outcomes if o.stops]
    if failed:
        with pytest.raises(DataError):
            require(outcomes, "page.html")
    assert summary(outcomes)["passed"] == (not failed)
    return failed


def test_a_batch_like_the_last_one_passes() -> None:
    assert failures(batch(), batch()) == []


def test_a_first_batch_is_compared_with_nothing() -> None:
    assert failures(batch(types={"odd": 100})) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"known_items": 4}, "50% of 10 items known"),
        ({"known_users": 0}, "5% of 10 users known"),
        ({"rows": 1001}, "at most 10 times more or fewer"),
        ({"rows": 10, "missing": {"rating": 1, "event_type": 0, "event_id": 10}}, None),
        ({"types": {"view": 50, "buy": 50}}, "event types at a distance"),
        ({"hours": {1: 60, 9: 40}}, "hours of the day"),
        ({"missing": {"rating": 10, "event_type": 30, "event_id": 100}}, "rows without rating"),
    ],
)
def test_a_batch_unlike_the_last_one_fails_one_check(change: dict[str, Any], words: str | None) -> None:
    limits = LIMITS.model_copy(update={"max_missing_change": 0.25})
    new = batch(**change)
    if "rows" in change and words:
        new = batch(**change, missing={"rating": 100, "event_type": 0, "event_id": 1001})

    failed = failures(new, batch(), limits)

    assert len(failed) == (words is not None)
    assert all(str(words) in line for line in failed)


@pytest.mark.parametrize("new", [batch(), None])
def test_files_that_cannot_be_used_fail_even_if_nothing_else_came(new: Batch | None) -> None:
    (failed,) = failures(new, set_aside=[f"{n}.csv" for n in range(7)])

    assert "(set aside: 0.csv, 1.csv, 2.csv, 3.csv, 4.csv and 2 more); 7" in failed


def test_a_batch_too_small_to_compare_is_not() -> None:
    assert failures(batch(rows=9, types={"odd": 9}), batch()) == []


def test_a_failed_check_that_settings_call_a_warning_stops_nothing() -> None:
    new = batch(types={"odd": 100})
    lenient = LIMITS.model_copy(update={"warnings": ["batch.types"]})

    assert len(failures(new, batch())) == 1
    assert failures(new, batch(), lenient) == []


def test_a_warning_is_shown_on_the_page() -> None:
    lenient = LIMITS.model_copy(update={"warnings": ["batch.files"]})
    rows = pl.DataFrame(schema=dict(INTERACTIONS))
    items = pl.DataFrame(schema=dict(ITEMS))
    outcomes = validate([rows], items, lenient, NOW, set_aside=["x.csv"])

    page = render([outcome for outcome in outcomes if outcome.table == "new log files"])

    assert "passed" in page and "1 only warn" in page and ">warning<" in page and "FAILED" not in page


def test_an_unknown_name_among_the_warnings_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"names batch\.tpyes; there are table\.age"):
        failures(batch(), limits=LIMITS.model_copy(update={"warnings": ["batch.tpyes"]}))


def test_a_table_that_shrinks_fails() -> None:
    assert failures(batch(), last_rows=2) == []
    assert ["90% of the rows of the last accepted table" in line for line in failures(batch(), last_rows=3)] == [True]


def test_a_table_without_news_fails_where_settings_ask() -> None:
    assert failures(batch(), limits=LIMITS.model_copy(update={"max_age_days": 3})) == []
    failed = failures(batch(), limits=LIMITS.model_copy(update={"max_age_days": 2}))
    assert ["a newest interaction of the last 2 days" in line and "2024-05-29" in line for line in failed] == [True]
