"""One log file, block by block: good rows to the spill, bad ones to quarantine, and everything counted."""

from collections.abc import Sequence
from datetime import date, datetime

import polars as pl

from ilm.data.logs.blocks import Block, column_names, read_blocks
from ilm.data.logs.facts import Counting, FileFacts, rejected_facts
from ilm.data.logs.files import LogFile, Rejected
from ilm.data.logs.spill import Spill
from ilm.data.logs.store import BAD_ROWS, Store
from ilm.data.logs.text_blocks import LINE_UNREADABLE, MEANING
from ilm.data.logs.typed import LOG_COLUMNS, Typing, choose_columns
from ilm.data.raw import ROW, as_json
from ilm.data.rules import FUTURE, Rule, set_aside
from ilm.data.schema import write_table
from ilm.errors import DataError

MOST_BAD_ROWS = 1 << 21
"""Of one file; more would not fit into memory, with what they said."""


class Reader:
    """Reads files that are new."""

    def __init__(self, names: dict[str, list[str]], rules: Sequence[Rule], spill: Spill, made: Store) -> None:
        """What `typed.names_that_count` and `ilm.data.rules.log_rules` gave; `spill` takes the good rows, `made` the
        tables of bad rows and ids of each file."""
        self._names, self._rules, self._spill, self._made = names, rules, spill, made

    def read(self, file: LogFile, days: set[date] | None = None) -> FileFacts | None:
        """Read a file to its end.

        Args:
            file: the file.
            days: event dates that the spill should get; None: all.

        Returns:
            What is in it, or why it is rejected; None if it changed meanwhile, which counts as not read.

        Raises:
            DataError: it could not be read, or more than MOST_BAD_ROWS are bad.
        """
        counting, bad = Counting(), []
        try:
            no_header = ".jsonl" in file.path.suffixes
            columns = choose_columns(column_names(file.path), self._names, more_may_come=no_header)
            typing = Typing(file.name, columns)
            for block in read_blocks(file.path, list(columns.values())):
                rows = typing.read(block)
                good, aside = set_aside(rows, self._rules)
                good = good.select(LOG_COLUMNS)
                bad.append(_bad_rows(aside, block))
                counting.add(good, bad[-1], _earliest_future(rows, aside))
                wanted = good if days is None else good.filter(pl.col("timestamp").dt.date().is_in(list(days)))
                self._spill.add(wanted)
                if sum(map(len, bad)) > MOST_BAD_ROWS:
                    raise DataError(f"{file.name}: more than {MOST_BAD_ROWS:,} rows cannot be used. Mend the file.")
            facts = counting.facts(file.name)
        except Rejected as error:
            facts = rejected_facts(file.name, error)
        if facts.rejected or not file.unchanged():
            self._spill.drop()
            return facts if file.unchanged() else None
        self._spill.keep()
        write_table(counting.ids(), self._made.ids_path(file.sha256))
        if facts.bad:
            rows = pl.concat(bad).select(list(BAD_ROWS))
            write_table(rows, self._made.bad_rows_path(file.sha256))
        return facts


def _earliest_future(rows: pl.DataFrame, aside: pl.DataFrame) -> datetime | None:
    """The earliest moment of a row that has not happened yet."""
    future = aside.filter(rule=FUTURE)
    if future.is_empty():
        return None
    return rows.join(future, on=ROW, how="semi")["timestamp"].min()  # type: ignore[return-value]


def _bad_rows(aside: pl.DataFrame, block: Block) -> pl.DataFrame:
    """BAD_ROWS of a block, in the order of the file.

    Args:
        aside: of `set_aside`.
        block: the raw rows, and lines that are no rows.
    """
    if aside.is_empty() and block.unreadable.is_empty():
        return pl.DataFrame(schema=dict(BAD_ROWS))
    rows = aside.select(ROW).join(block.rows, on=ROW, how="left", maintain_order="left").drop(ROW)
    records = pl.Series([as_json(record) for record in rows.iter_rows(named=True)], dtype=pl.String)
    lines = block.unreadable.select(ROW, rule=pl.lit(LINE_UNREADABLE), reason=pl.lit(MEANING), record="record")
    both = pl.concat([aside.with_columns(record=records), lines]).sort(ROW)
    return both.select(pl.col(ROW).cast(pl.Int64).alias("row"), "rule", "reason", "record")
