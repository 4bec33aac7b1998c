"""The data contract at the gate, as Great Expectations over interactions, items, their join, and the new log files.

Great Expectations passes an empty table, and a column of nulls, on every question about values. So each table also has
a row count, and each column that is asked about its values must have them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

import polars as pl

from ilm.data import expectations
from ilm.data.batch_contract import batch_checks, batch_frame, check_names, growth_checks
from ilm.data.checks import Check, Outcome
from ilm.data.inspection import Inspection
from ilm.data.logs.batch import Batch
from ilm.data.rules import earliest_moment
from ilm.data.schema import INTERACTIONS, ITEMS
from ilm.data.table_facts import TableFacts
from ilm.errors import DataError
from ilm.params import ValidateParams

INTERACTION_TABLE, ITEM_TABLE, JOINED_TABLE = "interactions", "items", "interactions with their items"
TOLERANCE = timedelta(days=1)
"""How far behind the writer of a log our clock may be."""


def validate(
    interactions: Iterable[pl.DataFrame],
    items: pl.DataFrame,
    params: ValidateParams,
    now: datetime,
    last_rows: int | None = None,
    batches: tuple[Batch | None, Batch | None] = (None, None),
    set_aside: Sequence[str] = (),
) -> list[Outcome]:
    """Hold the tables against the contract.

    Args:
        interactions: of step `ingest`, in portions, gone through once. Memory holds one, and the distinct ids.
        items: of step `ingest`.
        params: section `validate`.
        now: current time with zone; timestamps later than a day after it are impossible.
        last_rows: rows of the last accepted interactions, if there are any.
        batches: of `ilm.data.logs.batch.batch_to_judge`.
        set_aside: names of the log files that cannot be used.

    Returns:
        One outcome per expectation; those that could not be checked did not pass.

    Raises:
        ConfigError: `earliest` is no date, or `warnings` names a check that is not there.
    """
    check_names(params)
    portions = iter(interactions)
    first = next(portions, pl.DataFrame(schema=dict(INTERACTIONS)))
    moment = "order" if first["order"].count() else "timestamp"
    columns, rows, found = Inspection(_column_checks()), Inspection(_row_checks(params, now, moment)), TableFacts()
    columns.add(first.clear())
    titles = items.select(pl.col("item_id", "title").cast(pl.Categorical)).unique("item_id")
    for portion in chain([first], portions):
        found.add(portion)
        # Great Expectations hashes all that it is given: only what is asked about, and numbers for repeated texts.
        asked = portion.select(pl.col(f"^(user_id|timestamp|{moment})$"), pl.col("item_id").cast(pl.Categorical))
        rows.add(asked.join(titles, on="item_id", how="left"))
    whole = Inspection([*_table_checks(params), *growth_checks(INTERACTION_TABLE, params, now, last_rows)])
    whole.add(found.frame())
    of_items = Inspection(_item_checks(params))
    of_items.add(items)
    inspections = [columns, whole, rows, of_items]
    batch, before = batches
    if batch is not None or set_aside:
        inspections.append(Inspection(batch_checks(batch, before, set_aside, params)))
        inspections[-1].add(batch_frame(batch, before, set_aside))
    return [outcome for inspection in inspections for outcome in inspection.outcomes(params.warnings)]


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """The result as JSON: whether the run may go on, and every outcome."""
    return {
        "passed": bool(outcomes) and not any(o.stops for o in outcomes),
        "expectations": [asdict(outcome) for outcome in outcomes],
    }


def require(outcomes: list[Outcome], page: str) -> None:
    """Stop if the contract is broken.

    Args:
        outcomes: of `validate`.
        page: where the readable page lies, for the message.

    Raises:
        DataError: listing every expectation that failed and is no mere warning, with what was found.
    """
    failed = [outcome for outcome in outcomes if outcome.stops]
    if failed or not outcomes:
        lines = "\n".join(f"  {o.table}: expected {o.expected}; found {o.observed}" for o in failed)
        raise DataError(
            f"The data break the contract: {len(failed)} of {len(outcomes)} expectations failed (page: {page}).\n"
            f"{lines}\nMend the data, or change the limits in params.yaml, section validate."
        )


def _column_checks() -> list[Check]:
    gxe = expectations.load("great_expectations.expectations")
    asked = gxe.ExpectTableColumnsToMatchSet(column_set=[*INTERACTIONS], exact_match=True)
    return [Check(INTERACTION_TABLE, f"the columns {', '.join(INTERACTIONS)}", asked)]


def _row_checks(params: ValidateParams, now: datetime, moment: str) -> list[Check]:
    """Of rows of the interactions with the titles of their items."""
    gxe = expectations.load("great_expectations.expectations")
    not_null, unknown = gxe.ExpectColumnValuesToNotBeNull, params.max_unknown_item_fraction
    earliest = earliest_moment(params.earliest)
    possible = gxe.ExpectColumnValuesToBeBetween(column="timestamp", min_value=earliest, max_value=now + TOLERANCE)
    return [
        Check(INTERACTION_TABLE, "a user_id in every row", not_null(column="user_id")),
        Check(INTERACTION_TABLE, "an item_id in every row", not_null(column="item_id")),
        Check(INTERACTION_TABLE, f"a value of {moment} in every row", not_null(column=moment)),
        Check(
            INTERACTION_TABLE,
            f"no timestamp before {earliest:%Y-%m-%d} (validate.earliest) or more than a day after the check",
            possible,
        ),
        Check(
            JOINED_TABLE,
            f"at most {unknown:.2%} of rows with an item that the items table does not know "
            "(validate.max_unknown_item_fraction)",
            not_null(column="title", mostly=1.0 - unknown),
        ),
    ]


def _table_checks(params: ValidateParams) -> list[Check]:
    """Of `TableFacts`."""
    gxe = expectations.load("great_expectations.expectations")

    def at_least(least: int, column: str, what: str, setting: str) -> Check:
        asked = gxe.ExpectColumnValuesToBeBetween(column=column, min_value=least)
        return Check(INTERACTION_TABLE, f"at least {least:,} {what} (validate.{setting})", asked, shown=column)

    some = gxe.ExpectColumnValuesToBeBetween(column="rows", min_value=1)
    return [
        at_least(params.min_interactions, "rows", "interactions", "min_interactions"),
        at_least(params.min_users, "users", "different users", "min_users"),
        at_least(params.min_items, "items", "different items", "min_items"),
        Check(JOINED_TABLE, "at least 1 row", some, shown="rows"),
    ]


def _item_checks(params: ValidateParams) -> list[Check]:
    gxe = expectations.load("great_expectations.expectations")
    columns, not_null = gxe.ExpectTableColumnsToMatchSet, gxe.ExpectColumnValuesToNotBeNull
    return [
        Check(ITEM_TABLE, f"the columns {' and '.join(ITEMS)}", columns(column_set=[*ITEMS], exact_match=False)),
        Check(
            ITEM_TABLE,
            f"at least {params.min_items:,} items (validate.min_items)",
            gxe.ExpectTableRowCountToBeBetween(min_value=params.min_items),
        ),
        Check(ITEM_TABLE, "an item_id in every row", not_null(column="item_id")),
        Check(ITEM_TABLE, "every item_id only once", gxe.ExpectColumnValuesToBeUnique(column="item_id")),
        Check(ITEM_TABLE, "a title in every row", not_null(column="title")),
        Check(ITEM_TABLE, "no blank title", gxe.ExpectColumnValuesToMatchRegex(column="title", regex=r"\S")),
    ]
