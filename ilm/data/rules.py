"""The named rules of ingest: what makes a row unusable. Read the two tables below as the contract with the user.

Rules run from top to bottom, each over the rows that all earlier rules let through; a row is set aside by the first
rule that it breaks. Unknown items and impossible moments of the source are not here: the gate (`validate`) stops on
them. For log files, `log_rules` sets impossible moments aside, and unknown items wait (`ilm.data.logs.merged`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from ilm.data.raw import ROW
from ilm.errors import ConfigError, DataError

CONTENT = ["timestamp", "user_id", "item_id", "order", "event_type", "rating", "event_id"]
"""Order of interactions, oldest first: by what they say and not by where they stood, so that equal logs give equal
tables. Nulls come last."""

_NESTED = r"""^(\{["}]|\[["\[\]{\d-])"""
"""How lists and objects begin where JSON lines have them in the place of an id."""

FUTURE = "timestamp_in_future"
"""The one rule whose verdict changes with time: such a row enters once its time has come."""


@dataclass(frozen=True)
class Rule:
    """A row breaks the rule where `broken` is true; `meaning` completes "set aside because …"."""

    name: str
    meaning: str
    broken: pl.Expr


def _repeated(*columns: str) -> pl.Expr:
    return ~pl.struct(*columns).is_first_distinct()


_without_event_id = [pl.when(pl.col("event_id").is_null()).then(name).alias(name) for name in CONTENT[:5]]

ITEM_RULES = [
    Rule("item_id_missing", "item_id is missing or blank", pl.col("item_id").is_null()),
    Rule("title_missing", "title is missing or blank", pl.col("title").is_null()),
    Rule("duplicate_item", "the same item, with the same content, stands in an earlier row", _repeated("item_id")),
]

INTERACTION_RULES = [
    Rule("user_id_missing", "user_id is missing or blank", pl.col("user_id").is_null()),
    Rule("item_id_missing", "item_id is missing or blank", pl.col("item_id").is_null()),
    Rule(
        "timestamp_unreadable",
        "timestamp is missing (and there is no column order), or is no date, ISO text or epoch number",
        pl.col("timestamp").is_null() & (pl.col("timestamp_given") | ~pl.col("ordered")),
    ),
    Rule(
        "order_unreadable",
        "the file has a column order, but here it is no whole number",
        pl.col("order").is_null() & pl.col("ordered"),
    ),
    Rule(
        "rating_not_finite",
        "rating is there, but is no finite number",
        pl.col("rating").is_null() & pl.col("rating_given"),
    ),
    Rule("item_quarantined", "the row of its item in the items table was set aside", pl.col("item_set_aside")),
    Rule(
        "duplicate_event",
        "same event_id as another row, or, without event_id, same user, item, time (or order) and event_type",
        ~pl.struct("event_id", *_without_event_id).is_first_distinct(),
    ),
]


def earliest_moment(iso: str) -> datetime:
    """`validate.earliest` as a moment; without a zone it is UTC.

    Raises:
        ConfigError: it is no date.
    """
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        raise ConfigError(
            f"params.yaml: validate.earliest is {iso!r}, not an ISO date. Write it as 1990-01-01."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def log_rules(earliest: datetime, horizon: datetime) -> list[Rule]:
    """The rules for one file of `data.logs`: those above that look at a row by itself, and what time allows.

    Duplicates, and items that the catalogue does not know, are no damage there: logs overlap, and items come later.

    Args:
        earliest: an event before it is impossible.
        horizon: an event after it has not happened yet.
    """
    of_a_row = ("user_id_missing", "item_id_missing", "timestamp_unreadable", "rating_not_finite")
    nested = pl.col("user_id").str.contains(_NESTED) | pl.col("item_id").str.contains(_NESTED)
    return [
        *(rule for rule in INTERACTION_RULES if rule.name in of_a_row),
        Rule("id_nested", "user_id or item_id is a list or an object", nested),
        Rule("timestamp_too_early", "timestamp is before validate.earliest", pl.col("timestamp") < earliest),
        Rule(FUTURE, "timestamp is later than the clock and data.max_clock_skew allow", pl.col("timestamp") > horizon),
    ]


def set_aside(frame: pl.DataFrame, rules: Sequence[Rule]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows into good ones and those that break a rule.

    Args:
        frame: rows in an order that does not depend on the file; of several duplicates the first is kept.
        rules: applied in turn.

    Returns:
        The good rows, and (ROW, rule, reason) of the others.
    """
    broken = []
    for rule in rules:
        flagged = frame.select(pl.col(ROW), rule.broken.alias("broken"))
        if flagged["broken"].any():
            names = (pl.lit(rule.name).alias("rule"), pl.lit(rule.meaning).alias("reason"))
            broken.append(flagged.filter("broken").select(ROW, *names))
            frame = frame.filter(~flagged["broken"])
    nothing = pl.DataFrame(schema={ROW: frame.schema[ROW], "rule": pl.String, "reason": pl.String})
    return frame, pl.concat([nothing, *broken])


def check_share(table: str, aside: pl.DataFrame, rows: int, limit: float) -> None:
    """Stop when too many rows were set aside.

    Args:
        table: "interactions" or "items", with the file's name, for the message.
        aside: (ROW, rule, reason) per row set aside.
        rows: rows of the file.
        limit: largest share that is tolerated.

    Raises:
        DataError: naming the rules with their counts, most frequent first, and where each strikes first.
    """
    if len(aside) <= limit * rows:
        return
    counts = aside.group_by("rule").agg(pl.len(), pl.col(ROW).min()).sort(["len", "rule"], descending=[True, False])
    worst = "; ".join(f"{rule} {count:,} (first: row {row:,})" for rule, count, row in counts.head(4).iter_rows())
    raise DataError(
        f"{table}: {len(aside):,} of {rows:,} rows ({len(aside) / rows:.1%}) cannot be used, more than "
        f"data.max_quarantine_fraction ({limit:.1%}) allows: {worst}. "
        "Mend the file, or raise data.max_quarantine_fraction in params.yaml."
    )
