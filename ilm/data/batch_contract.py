"""What the contract asks of change: of the new log files against the last accepted ones, and of the table as it grows.

Great Expectations is asked about one row that describes the batch (`ilm.data.logs.batch`), so the size of a log does
not matter.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from ilm.data import expectations
from ilm.data.checks import Check
from ilm.data.logs.batch import Batch, distance, missing_change
from ilm.errors import ConfigError
from ilm.params import ValidateParams

BATCH_TABLE = "new log files"
NAMES = (
    "table.age", "table.shrink", "batch.files", "batch.known_items", "batch.known_users", "batch.size", "batch.types",
    "batch.hours", "batch.missing",
)  # fmt: skip
"""Of the checks of this file; `validate.warnings` may name them."""
NAMED = 5
"""Files that are named; the quarantine has them all."""


def check_names(params: ValidateParams) -> None:
    """Raises ConfigError if `validate.warnings` names a check that is not there."""
    unknown = sorted(set(params.warnings) - set(NAMES))
    if unknown:
        raise ConfigError(
            f"params.yaml: validate.warnings names {', '.join(unknown)}; there are {', '.join(NAMES)}. All others "
            "always stop the run."
        )


def growth_checks(table: str, params: ValidateParams, now: datetime, last_rows: int | None) -> list[Check]:
    """Of the merged interactions, as the row of `TableFacts`.

    Args:
        table: its name.
        params: section `validate`.
        now: current time with zone.
        last_rows: rows of the last accepted table, if there is one.
    """
    gxe = expectations.load("great_expectations.expectations")
    least = math.ceil((last_rows or 0) * (1 - params.max_shrink_fraction))
    checks = [
        Check(
            table,
            f"at least {1 - params.max_shrink_fraction:.0%} of the rows of the last accepted table "
            "(validate.max_shrink_fraction)",
            gxe.ExpectColumnValuesToBeBetween(column="rows", min_value=least),
            "table.shrink",
            shown="rows",
        )
    ]
    if params.max_age_days is not None:
        oldest = now - timedelta(days=params.max_age_days)
        newest = gxe.ExpectColumnValuesToBeBetween(column="newest", min_value=oldest)
        expected = f"a newest interaction of the last {params.max_age_days:,} days (validate.max_age_days)"
        checks.append(Check(table, expected, newest, "table.age", shown="newest"))
    return checks


def batch_frame(batch: Batch | None, before: Batch | None, set_aside: Sequence[str]) -> pl.DataFrame:
    """One row that describes the batch; what cannot be said is null. Arguments as in `batch_checks`."""
    found: dict[str, float | None] = dict.fromkeys(
        ("known_items", "known_users", "size", "types", "hours", "missing"), None
    )
    if batch is not None and batch.rows:
        found["known_items"] = batch.known_items / batch.items
        found["known_users"] = batch.known_users / batch.users
        if before is not None and before.rows:
            found["size"] = batch.rows / before.rows
            found["types"] = distance(batch.types, before.types)
            found["hours"] = distance(batch.hours, before.hours)
            found["missing"] = missing_change(batch, before)
    row = pl.DataFrame({"set_aside": len(set_aside)} | found)
    return row.cast(dict.fromkeys(found, pl.Float64))


def batch_checks(
    batch: Batch | None, before: Batch | None, set_aside: Sequence[str], params: ValidateParams
) -> list[Check]:
    """Of the row of `batch_frame`. What needs a comparison is asked only if there is an accepted batch to compare with,
    and the new one has `validate.min_batch_rows`.

    Args:
        batch: the new one, if there ever was one.
        before: the accepted one to compare it with, if there is one.
        set_aside: names of all files in the logs folder that cannot be used, new or not.
        params: section `validate`.
    """
    gxe = expectations.load("great_expectations.expectations")

    def between(column: str, expected: str, low: float | None, high: float | None) -> Check:
        asked = gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high)
        return Check(BATCH_TABLE, expected, asked, f"batch.{column}", shown=column)

    more = f" and {len(set_aside) - NAMED:,} more" if len(set_aside) > NAMED else ""
    named = f" (set aside: {', '.join(set_aside[:NAMED])}{more})" if set_aside else ""
    none = gxe.ExpectColumnValuesToBeBetween(column="set_aside", min_value=0, max_value=0)
    files = f"no file in data.logs that cannot be used{named}"
    checks = [Check(BATCH_TABLE, files, none, "batch.files", shown="set_aside")]
    if batch is None:
        return checks
    if batch.rows:
        known = f"at least {params.min_known_items:.0%} of {batch.items:,} items known to the catalogue"
        checks.append(between("known_items", f"{known} (validate.min_known_items)", params.min_known_items, None))
        known = f"at least {params.min_known_users:.0%} of {batch.users:,} users known from before"
        checks.append(between("known_users", f"{known} (validate.min_known_users)", params.min_known_users, None))
    if before is not None and batch.rows >= params.min_batch_rows:
        ratio, than = params.max_size_ratio, "the last accepted batch"
        checks += [
            between(
                "size",
                f"{batch.rows:,} rows are at most {ratio:g} times more or fewer than the {before.rows:,} of {than} "
                "(validate.max_size_ratio)",
                1 / ratio,
                ratio,
            ),
            between(
                "types",
                f"event types at a distance of at most {params.max_type_distance:g} from {than} "
                "(validate.max_type_distance)",
                None,
                params.max_type_distance,
            ),
            between(
                "hours",
                f"hours of the day at a distance of at most {params.max_hour_distance:g} from {than} "
                "(validate.max_hour_distance)",
                None,
                params.max_hour_distance,
            ),
            between(
                "missing",
                f"shares of rows without rating, event_type or event_id at most {params.max_missing_change:g} from "
                f"{than} (validate.max_missing_change)",
                None,
                params.max_missing_change,
            ),
        ]
    return checks
