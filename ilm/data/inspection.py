"""Great Expectations asked about a table that comes in portions: its answers are added up, so memory holds one portion.

A question about values is put to every portion, and counts of rows that break it are summed. What cannot be summed
(how many different users there are) is found beforehand, and asked of a table of one row.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import polars as pl

from ilm.data import expectations
from ilm.data.checks import Check, Outcome

EXAMPLES_SHOWN = 3


@dataclass
class _Answer:
    """To one question, of all portions so far."""

    passed: bool = True
    """Every portion by itself."""
    unanswered: bool = False
    """By a portion at least."""
    rows: int = 0
    elements: int = 0
    missing: int = 0
    unexpected: int = 0
    examples: list[str] = field(default_factory=list)
    value: Any = None
    """What was found, of a question that is not about single values; of the last portion."""


class Inspection:
    """Of one table.

    Args:
        checks: the questions about it.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        gx = expectations.load()
        logging.getLogger("great_expectations").setLevel(logging.ERROR)
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        asset = context.data_sources.add_pandas("table").add_dataframe_asset("table")
        self._portion = asset.add_batch_definition_whole_dataframe("portion")
        self._checks, self._answers = checks, [_Answer() for _ in checks]
        for number, check in enumerate(checks):  # results come in an order of their own
            check.expectation.meta = {"number": number}
        self._suite = gx.ExpectationSuite(name="table", expectations=[check.expectation for check in checks])

    def add(self, portion: pl.DataFrame) -> None:
        """Ask about some rows of the table."""
        batch = self._portion.get_batch({"dataframe": portion.to_pandas()})
        index = ["item_id"] if "item_id" in portion else []
        details = {"result_format": "SUMMARY", "unexpected_index_column_names": index}
        found = batch.validate(self._suite, result_format=details).results
        results = {result.expectation_config.meta["number"]: result for result in found}
        for number, (check, answer) in enumerate(zip(self._checks, self._answers, strict=True)):
            _add(answer, check, results.get(number), portion)

    def outcomes(self, warnings: Sequence[str]) -> list[Outcome]:
        """What was found, in the order of the checks; `warnings`: names of checks whose failure stops nothing."""
        outcomes = map(_outcome, self._checks, self._answers)
        return [
            replace(outcome, severity="warning") if check.name in warnings else outcome
            for outcome, check in zip(outcomes, self._checks, strict=True)
        ]


def _add(answer: _Answer, check: Check, result: Any, portion: pl.DataFrame) -> None:
    answer.rows += len(portion)
    shown = portion[check.shown][0] if check.shown is not None else None
    if result is None or not result.result or (check.shown is not None and shown is None):  # null passes every range
        answer.unanswered = True
        return
    found = result.result
    answer.passed &= bool(result.success)
    if shown is not None:
        answer.value = shown
    elif "unexpected_count" not in found:
        answer.value = found["observed_value"]
    else:
        answer.elements += found["element_count"]
        answer.missing += found.get("missing_count", 0)
        answer.unexpected += found["unexpected_count"]
        answer.examples = list(dict.fromkeys([*answer.examples, *_examples(found)]))[:EXAMPLES_SHOWN]


def _outcome(check: Check, answer: _Answer) -> Outcome:
    if answer.unanswered:
        return Outcome(check.table, check.expected, "no answer: it could not be checked", passed=False)
    passed, asked = answer.passed, answer.elements - answer.missing
    if answer.elements:  # a share of all rows, as Great Expectations has it of a portion
        passed = not asked or (asked - answer.unexpected) / asked >= check.expectation.mostly
    if answer.unexpected:
        shown = f", such as {'; '.join(answer.examples)}" if answer.examples else ""
        observed = f"{answer.unexpected:,} of {answer.rows:,} rows otherwise{shown}"
    elif answer.value is None:
        observed = f"all {asked:,} values so"
    else:
        observed = _in_words(answer.value)
    return Outcome(check.table, check.expected, observed, passed=passed)


def _in_words(value: Any) -> str:
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
    return ", ".join(map(str, value)) if isinstance(value, list | set | tuple) else str(value)


def _examples(found: dict[str, Any]) -> list[str]:
    """Rows at fault, as "column value" pairs."""
    isna: Any = import_module("pandas").isna
    rows = found.get("partial_unexpected_index_list") or []
    return [", ".join(f"{name} {'missing' if isna(value) else value}" for name, value in row.items()) for row in rows]
