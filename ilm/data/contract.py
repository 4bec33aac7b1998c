"""The data contract at the gate, as Great Expectations over interactions, items, their join, and the new log files.

Great Expectations passes an empty table, and a column of nulls, on every question about values. So each table also has
a row count, and each column that is asked about its values must have them.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

import polars as pl

from ilm.data import expectations
from ilm.data.batch_contract import BATCH_TABLE, batch_checks, batch_frame, check_names, growth_checks
from ilm.data.checks import Check, Outcome
from ilm.data.logs.batch import Batch
from ilm.data.rules import earliest_moment
from ilm.data.schema import INTERACTIONS, ITEMS
from ilm.errors import DataError
from ilm.params import ValidateParams

INTERACTION_TABLE, ITEM_TABLE, JOINED_TABLE = "interactions", "items", "interactions with their items"
EXAMPLES_SHOWN = 3
TOLERANCE = timedelta(days=1)
"""How far behind the writer of a log our clock may be."""


def validate(
    interactions: pl.DataFrame,
    items: pl.DataFrame,
    params: ValidateParams,
    now: datetime,
    last_rows: int | None = None,
    batches: tuple[Batch | None, Batch | None] = (None, None),
    set_aside: Sequence[str] = (),
) -> list[Outcome]:
    """Hold the tables against the contract.

    Args:
        interactions: of step `ingest`; ids may be of type Enum.
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
    item_id, title = interactions.schema["item_id"], pl.Enum(items["title"].drop_nulls().unique().sort())
    titles = items.select(pl.col("item_id").cast(item_id, strict=False), pl.col("title").cast(title))
    names = interactions.select("item_id").join(titles, on="item_id", how="left")
    tables = {INTERACTION_TABLE: interactions, ITEM_TABLE: items, JOINED_TABLE: names}
    checks = _checks(params, now, ordered=interactions["order"].count() > 0)
    checks += growth_checks(INTERACTION_TABLE, params, now, last_rows)
    batch, before = batches
    if batch is not None or set_aside:
        tables[BATCH_TABLE] = batch_frame(batch, before, set_aside)
        checks += batch_checks(batch, before, set_aside, params)
    return [outcome for table, frame in tables.items() for outcome in _run(table, frame, checks, params.warnings)]


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


def _checks(params: ValidateParams, now: datetime, *, ordered: bool) -> list[Check]:
    gxe = expectations.load("great_expectations.expectations")
    rows, distinct = gxe.ExpectTableRowCountToBeBetween, gxe.ExpectColumnUniqueValueCountToBeBetween
    columns, not_null = gxe.ExpectTableColumnsToMatchSet, gxe.ExpectColumnValuesToNotBeNull
    earliest, moment = earliest_moment(params.earliest), "order" if ordered else "timestamp"
    possible = gxe.ExpectColumnValuesToBeBetween(column="timestamp", min_value=earliest, max_value=now + TOLERANCE)
    unknown = params.max_unknown_item_fraction
    return [
        Check(
            INTERACTION_TABLE,
            f"the columns {', '.join(INTERACTIONS)}",
            columns(column_set=[*INTERACTIONS], exact_match=True),
        ),
        Check(
            INTERACTION_TABLE,
            f"at least {params.min_interactions:,} interactions (validate.min_interactions)",
            rows(min_value=params.min_interactions),
        ),
        Check(
            INTERACTION_TABLE,
            f"at least {params.min_users:,} different users (validate.min_users)",
            distinct(column="user_id", min_value=params.min_users),
        ),
        Check(
            INTERACTION_TABLE,
            f"at least {params.min_items:,} different items (validate.min_items)",
            distinct(column="item_id", min_value=params.min_items),
        ),
        Check(INTERACTION_TABLE, "a user_id in every row", not_null(column="user_id")),
        Check(INTERACTION_TABLE, "an item_id in every row", not_null(column="item_id")),
        Check(INTERACTION_TABLE, f"a value of {moment} in every row", not_null(column=moment)),
        Check(
            INTERACTION_TABLE,
            f"no timestamp before {earliest:%Y-%m-%d} (validate.earliest) or more than a day after the check",
            possible,
        ),
        Check(ITEM_TABLE, f"the columns {' and '.join(ITEMS)}", columns(column_set=[*ITEMS], exact_match=False)),
        Check(
            ITEM_TABLE, f"at least {params.min_items:,} items (validate.min_items)", rows(min_value=params.min_items)
        ),
        Check(ITEM_TABLE, "an item_id in every row", not_null(column="item_id")),
        Check(ITEM_TABLE, "every item_id only once", gxe.ExpectColumnValuesToBeUnique(column="item_id")),
        Check(ITEM_TABLE, "a title in every row", not_null(column="title")),
        Check(ITEM_TABLE, "no blank title", gxe.ExpectColumnValuesToMatchRegex(column="title", regex=r"\S")),
        Check(JOINED_TABLE, "at least 1 row", rows(min_value=1)),
        Check(
            JOINED_TABLE,
            f"at most {unknown:.2%} of rows with an item that the items table does not know "
            "(validate.max_unknown_item_fraction)",
            not_null(column="title", mostly=1.0 - unknown),
        ),
    ]


def _run(table: str, frame: pl.DataFrame, checks: list[Check], warnings: list[str]) -> list[Outcome]:
    """Ask Great Expectations about one table, in memory and without progress bars."""
    gx = expectations.load()
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas(table).add_dataframe_asset(table)
    batch = asset.add_batch_definition_whole_dataframe(table).get_batch({"dataframe": frame.to_pandas()})
    chosen = [check for check in checks if check.table == table]
    for number, check in enumerate(chosen):  # results come in an order of their own
        check.expectation.meta = {"number": number}
    suite = gx.ExpectationSuite(name=table, expectations=[check.expectation for check in chosen])
    details = {"result_format": "SUMMARY", "unexpected_index_column_names": ["item_id"] if "item_id" in frame else []}
    results = {r.expectation_config.meta["number"]: r for r in batch.validate(suite, result_format=details).results}
    outcomes = [_outcome(check, results.get(number), frame) for number, check in enumerate(chosen)]
    return [
        replace(outcome, severity="warning") if check.name in warnings else outcome
        for outcome, check in zip(outcomes, chosen, strict=True)
    ]


def _outcome(check: Check, result: Any, frame: pl.DataFrame) -> Outcome:
    if result is None or not result.result:
        return Outcome(check.table, check.expected, "no answer: it could not be checked", passed=False)
    found, rows = result.result, len(frame)
    if check.shown is not None:
        value = frame[check.shown][0]
        return Outcome(check.table, check.expected, f"{value:.3g}", passed=bool(result.success))
    if "unexpected_count" not in found:
        value = found["observed_value"]
        parts = ", ".join(str(part) for part in value) if isinstance(value, list | set | tuple) else str(value)
        observed = f"{value:,}" if isinstance(value, int) else parts
    elif found["unexpected_count"]:
        observed = f"{found['unexpected_count']:,} of {rows:,} rows otherwise{_examples(found)}"
    else:
        observed = f"all {found['element_count'] - found.get('missing_count', 0):,} values so"
    return Outcome(check.table, check.expected, observed, passed=bool(result.success))


def _examples(found: dict[str, Any]) -> str:
    """The first few rows at fault, as "column value" pairs."""
    isna: Any = import_module("pandas").isna
    rows = found.get("partial_unexpected_index_list") or []
    texts = [", ".join(f"{name} {'missing' if isna(value) else value}" for name, value in row.items()) for row in rows]
    distinct = list(dict.fromkeys(texts))[:EXAMPLES_SHOWN]
    return f", such as {'; '.join(distinct)}" if distinct else ""
