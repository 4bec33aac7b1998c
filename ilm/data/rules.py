"""The named rules of ingest: what makes a row unusable. Read the two tables below as the contract with the user.

Rules run from top to bottom, each over the rows that all earlier rules let through; a row is set aside by the first
rule that it breaks. Unknown items and impossible moments are not here: the gate (`validate`) stops on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from ilm.data.raw import ROW
from ilm.errors import DataError

CONTENT = ["user_id", "item_id", "timestamp", "order", "event_type", "rating", "event_id"]
"""Order of interactions: by what they say and not by where they stood, so that equal logs give equal tables."""


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
