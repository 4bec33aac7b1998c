"""The gate: what the contract lets through, and every way in which it must not."""

import re
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from ilm.data.contract import Outcome, require, summary, validate
from ilm.data.schema import INTERACTIONS, ITEMS
from ilm.data.validation_page import render
from ilm.errors import ConfigError, DataError
from ilm.params import ValidateParams

NOW = datetime(2024, 6, 1, tzinfo=UTC)
LIMITS = ValidateParams(min_users=2, min_items=2, min_interactions=4)


def interactions(**columns: list[object]) -> pl.DataFrame:
    good = {
        "user_id": ["u1", "u1", "u2", "u2"],
        "item_id": ["i1", "i2", "i1", "i2"],
        "timestamp": [datetime(2020, 1, day, tzinfo=UTC) for day in range(1, 5)],
    }
    values = good | columns
    rows = len(next(iter(columns.values()), good["user_id"]))
    return pl.DataFrame({name: values.get(name, [None] * rows)[:rows] for name in INTERACTIONS}, schema=INTERACTIONS)


def items(**columns: list[object]) -> pl.DataFrame:
    return pl.DataFrame({"item_id": ["i1", "i2"], "title": ["Heat", "Ronin"]} | columns, schema=ITEMS)


def failures(left: pl.DataFrame, right: pl.DataFrame, limits: ValidateParams = LIMITS) -> list[str]:
    """What the message says was expected and found, per failed expectation."""
    outcomes = validate([left], right, limits, NOW)
    failed = [f"{o.table}: {o.expected}; {o.observed}" for o in outcomes if not o.passed]
    if failed:
        with pytest.raises(DataError, match=f"{len(failed)} of {len(outcomes)} expectations failed"):
            require(outcomes, "page.html")
    return failed


def test_good_data_pass() -> None:
    assert failures(interactions(), items()) == []


def test_empty_tables_fail() -> None:
    failed = failures(interactions().clear(), items().clear())

    assert any("at least 4 interactions" in line for line in failed)
    assert any(line.startswith("items: at least 2 items") for line in failed)
    assert any(line.startswith("interactions with their items: at least 1 row") for line in failed)


@pytest.mark.parametrize("column", ["user_id", "item_id", "timestamp"])
def test_a_column_of_nulls_fails(column: str) -> None:
    failed = failures(interactions(**{column: [None] * 4}), items())

    assert any(f"{column} in every row; 4 of 4 rows otherwise" in line for line in failed)


@pytest.mark.parametrize("column", ["item_id", "title"])
def test_an_item_column_of_nulls_fails(column: str) -> None:
    failed = failures(interactions(), items(**{column: [None, None]}))

    assert any(f"{column} in every row; 2 of 2 rows otherwise" in line for line in failed)


def test_too_few_users_items_and_interactions_fail() -> None:
    failed = failures(interactions(), items(), ValidateParams(min_users=3, min_items=3, min_interactions=5))

    found = [re.sub(r".*at least ", "", line) for line in failed]
    assert found == [
        "5 interactions (validate.min_interactions); 4",
        "3 different users (validate.min_users); 2",
        "3 different items (validate.min_items); 2",
        "3 items (validate.min_items); 2",
    ]


def test_an_unknown_item_fails_and_is_named_unless_tolerated() -> None:
    unknown = interactions(item_id=["i1", "i2", "i1", "i9"])

    assert ["1 of 4 rows otherwise" in line and "item_id i9" in line for line in failures(unknown, items())] == [True]
    assert failures(unknown, items(), LIMITS.model_copy(update={"max_unknown_item_fraction": 0.25})) == []


@pytest.mark.parametrize("moment", [datetime(1989, 12, 31, tzinfo=UTC), NOW + timedelta(days=1, seconds=1)])
def test_an_impossible_moment_fails_and_is_shown(moment: datetime) -> None:
    times = [*interactions()["timestamp"].to_list()[:3], moment]

    failed = failures(interactions(timestamp=times), items())

    assert len(failed) == 1 and f"timestamp {moment:%Y-%m-%d %H:%M:%S}" in failed[0]


@pytest.mark.parametrize("moment", [datetime(1990, 1, 1, tzinfo=UTC), NOW + timedelta(days=1)])
def test_moments_at_the_limits_pass(moment: datetime) -> None:
    assert failures(interactions(timestamp=[moment] * 4), items()) == []


def test_with_an_order_in_every_row_timestamps_may_be_missing() -> None:
    assert failures(interactions(timestamp=[None] * 4, order=[0, 1, 0, 1]), items()) == []
    assert any("value of order" in line for line in failures(interactions(order=[0, 1, 0, None]), items()))


def test_a_title_that_is_blank_and_an_item_that_stands_twice_fail() -> None:
    failed = failures(interactions(), items(item_id=["i1", "i1"], title=["Heat", " "]))

    assert any("every item_id only once; 2 of 2 rows" in line for line in failed)
    assert any("no blank title; 1 of 2 rows" in line for line in failed)


def test_a_missing_column_fails() -> None:
    assert any("the columns" in line for line in failures(interactions().drop("rating"), items()))


def test_what_could_not_be_checked_has_not_passed() -> None:
    failed = failures(interactions().drop("timestamp"), items())

    assert any("value of timestamp in every row; no answer" in line for line in failed)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10])
def test_answers_about_portions_add_up_to_those_about_the_whole(size: int) -> None:
    good = datetime(2020, 1, 1, tzinfo=UTC)
    log = interactions(
        user_id=["u1", None, "u2", "u3", "u1", None, "u2", "u2", "u2", "u2"],
        item_id=["i1", "i2", "i9", "i2", None, "i8", "i1", "i1", "i1", "i1"],
        timestamp=[good, NOW + timedelta(days=9), None, *[good] * 7],
    )
    limits = LIMITS.model_copy(update={"max_unknown_item_fraction": 0.3, "min_users": 4})

    whole = validate([log], items(), limits, NOW)

    assert validate(log.iter_slices(size), items(), limits, NOW) == whole
    assert [o.observed for o in whole if not o.passed] == [
        "3",
        "2 of 10 rows otherwise, such as user_id missing, item_id i2; user_id missing, item_id i8",
        "1 of 10 rows otherwise, such as item_id missing",
        "1 of 10 rows otherwise, such as timestamp missing, item_id i9",
        f"1 of 10 rows otherwise, such as timestamp {NOW + timedelta(days=9):%Y-%m-%d %H:%M:%S}+00:00, item_id i2",
    ]


def test_one_row_too_many_in_any_portion_is_found() -> None:
    log = interactions(item_id=["i1", "i2", "i9", "i8"])
    limits = LIMITS.model_copy(update={"max_unknown_item_fraction": 0.5})

    assert failures(log, items(), limits) == []
    later = [log, interactions(item_id=["i1", "i9"])]
    passed = [o.passed for o in validate(later, items(), limits, NOW) if "does not know" in o.expected]
    assert passed == [True]  # 3 of 6
    passed = [o.passed for o in validate([*later, log[-1:]], items(), limits, NOW) if "does not know" in o.expected]
    assert passed == [False]  # 4 of 7


def test_a_portion_that_could_not_be_checked_has_not_passed() -> None:
    outcomes = validate([interactions(), interactions().drop("user_id")], items(), LIMITS, NOW)

    failed = {o.expected: o.observed for o in outcomes if not o.passed}
    assert failed["a user_id in every row"] == "no answer: it could not be checked"


def test_without_any_portion_nothing_passes_for_want_of_rows() -> None:
    failed = [o.expected for o in validate([], items(), LIMITS, NOW) if not o.passed]

    assert "at least 4 interactions (validate.min_interactions)" in failed


def test_a_table_without_timestamps_has_no_newest_interaction() -> None:
    limits = LIMITS.model_copy(update={"max_age_days": 3, "warnings": []})

    (failed,) = failures(interactions(timestamp=[None] * 4, order=[0, 1, 0, 1]), items(), limits)

    assert "a newest interaction" in failed and "no answer" in failed


def test_the_result_does_not_depend_on_the_time() -> None:
    later = NOW + timedelta(days=400)

    assert validate([interactions()], items(), LIMITS, NOW) == validate([interactions()], items(), LIMITS, later)


def test_no_outcome_at_all_is_no_pass() -> None:
    with pytest.raises(DataError):
        require([], "page.html")
    assert summary([])["passed"] is False


def test_an_earliest_that_is_no_date_is_refused() -> None:
    with pytest.raises(ConfigError, match="validate.earliest is 'long ago'"):
        validate([interactions()], items(), LIMITS.model_copy(update={"earliest": "long ago"}), NOW)


def test_the_summary_has_every_outcome() -> None:
    outcomes = [Outcome("items", "a title", "none", passed=False), Outcome("items", "rows", "3", passed=True)]

    assert summary(outcomes) == {
        "passed": False,
        "expectations": [
            {"table": "items", "expected": "a title", "observed": "none", "passed": False, "severity": "error"},
            {"table": "items", "expected": "rows", "observed": "3", "passed": True, "severity": "error"},
        ],
    }


def test_the_page_shows_all_outcomes_escaped_and_loads_nothing() -> None:
    page = render([Outcome("items", "titles", "<script>alert(1)</script>", passed=False)])

    assert "&lt;script&gt;" in page and "<script" not in page
    assert "FAILED" in page and "broken" in page
    assert "http" not in page


def test_the_page_of_a_kept_contract_says_so() -> None:
    page = render([Outcome("items", "titles", "all", passed=True)])

    assert "passed" in page and "broken" not in page and "FAILED" not in page
