"""What would happen to each row of a file if it were dropped into the logs folder. Nothing of the project is changed.

The answer comes from the code that would do it, on a copy of the store (of hard links, where the disk allows).
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from ilm.data.ingest import Ingested, ingest
from ilm.data.logs.facts import FileFacts, rejected_facts
from ilm.data.logs.files import ITEMS_PREFIX, UNFINISHED, LogFile, Rejected, find, identified
from ilm.data.logs.items import read_items
from ilm.data.logs.merged import merged_rows
from ilm.data.logs.quarantine import check_shares
from ilm.data.logs.store import BAD_ROWS, Store
from ilm.data.logs.update import update
from ilm.data.raw import RawTable, Source
from ilm.data.source import load
from ilm.errors import DataError
from ilm.params import DataParams


@dataclass(frozen=True)
class FileCheck:
    """What would happen to one file."""

    name: str
    rows: int
    bad_rows: pl.DataFrame
    """BAD_ROWS: what would go to quarantine."""
    accepted: int = 0
    """Rows that would join the interactions (of a file of items: the catalogue)."""
    duplicate: int = 0
    """Rows that tell what another row of the file, or the table, tells already."""
    kept_aside: int = 0
    """Rows that would wait until the catalogue knows their item."""
    late: int = 0
    """Of the accepted and the kept aside: rows of dates before the last date of the store."""
    refused: str | None = None
    """Why the file would not be used as a whole, or would stop the run."""


class Checker:
    """Checks files against the project's data as they are now. Holds a copy of the store: use it by `checking`."""

    def __init__(self, scratch: Path, store: Path, params: DataParams, earliest: datetime, now: datetime) -> None:
        self._scratch, self._earliest, self._now, self._params = scratch, earliest, now, params
        self._lenient = params.model_copy(update={"max_quarantine_fraction": 1.0})
        found = find(Path(params.logs), settle_seconds=0)
        self._others = found.logs
        self._source: Source = load(params, logs=True)
        self._item_tables, _ = read_items(found.items, params)
        self._base: Ingested = ingest(self._source, 1.0, self._item_tables)
        self._before = scratch / "before"
        if store.is_dir():
            _copy(store, self._before)
        self._counts = self._count(update(self._others, self._before, self._lenient, earliest, now).store)

    def check(self, path: Path) -> FileCheck:
        """Check one file, against the log files that lie in the folder and the source.

        Raises:
            DataError: there is no such file.
        """
        if not path.is_file():
            raise DataError(f"{path}: no such file.")
        try:
            if path.name.endswith(UNFINISHED):
                raise Rejected("file_unfinished", "its name says that it is not finished: it would be left")
            file = identified(path, path.name)
            return self._check_items(file) if path.name.startswith(ITEMS_PREFIX) else self._check_log(file)
        except Rejected as error:
            return _refused(path.name, rejected_facts(path.name, error))

    def _check_log(self, file: LogFile) -> FileCheck:
        after = self._scratch / "after"
        _copy(self._before, after)
        try:
            others = [other for other in self._others if other.sha256 != file.sha256]
            updated = update([*others, file], after, self._lenient, self._earliest, self._now)
            facts = updated.store.manifest.files[file.sha256]
            if facts.rejected:
                return _refused(file.name, facts)
            accepted, kept_aside = (a - b for a, b in zip(self._count(updated.store), self._counts, strict=True))
            bad = updated.store.bad_rows(file.sha256) if facts.bad else pl.DataFrame(schema=dict(BAD_ROWS))
            return FileCheck(
                name=file.name,
                rows=facts.rows,
                bad_rows=bad,
                accepted=accepted,
                duplicate=facts.good - accepted - kept_aside,
                kept_aside=kept_aside,
                late=updated.late,
                refused=_why(lambda: check_shares({file.sha256: facts}, [updated.store], self._limit)),
            )
        finally:
            shutil.rmtree(after)

    def _check_items(self, file: LogFile) -> FileCheck:
        tables, rejected = read_items([file], self._params)
        if file.name in rejected:
            raise rejected[file.name]
        refused = _why(lambda: self._with(tables, self._limit))
        try:
            result = self._with(tables, 1.0)
        except DataError:  # an item is described in two ways
            return FileCheck(file.name, len(tables[0].rows), pl.DataFrame(schema=dict(BAD_ROWS)), refused=refused)
        aside = result.quarantine.filter(table="items", source=file.name).select(list(BAD_ROWS))
        twice = aside.filter(rule="duplicate_item")
        accepted = len(result.items) - len(self._base.items)
        bad = aside.filter(pl.col("rule") != "duplicate_item")
        return FileCheck(file.name, len(tables[0].rows), bad, accepted, len(twice), refused=refused)

    @property
    def _limit(self) -> float:
        return self._params.max_quarantine_fraction

    def _with(self, tables: Sequence[RawTable], limit: float) -> Ingested:
        others = [table for table in self._item_tables if table.name not in {new.name for new in tables}]
        return ingest(self._source, limit, [*others, *tables])

    def _count(self, store: Store) -> tuple[int, int]:
        """Accepted and kept-aside rows of the merged table."""
        accepted = kept_aside = 0
        for good, waiting, _ in merged_rows(self._base.interactions, store, self._base.items["item_id"]):
            accepted, kept_aside = accepted + len(good), kept_aside + len(waiting)
        return accepted, kept_aside


@contextmanager
def checking(store: Path, params: DataParams, earliest: datetime, now: datetime) -> Iterator[Checker]:
    """A checker for the project in the current folder.

    Args:
        store: the log store; it need not be there.
        params: section `data`.
        earliest: `validate.earliest`.
        now: current time with zone.

    Raises:
        DataError: the source cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="ilm-logs-check-") as scratch:
        yield Checker(Path(scratch), store, params, earliest, now)


def _refused(name: str, facts: FileFacts) -> FileCheck:
    rule, reason = facts.rejected or ("", "")
    return FileCheck(name, 0, pl.DataFrame(schema=dict(BAD_ROWS)), refused=f"{rule}: {reason}")


def _why(attempt: Callable[[], object]) -> str | None:
    """The message of an attempt that fails."""
    try:
        attempt()
    except DataError as error:
        return str(error)
    return None


def _copy(store: Path, target: Path) -> None:
    shutil.copytree(store, target, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copyfile(source, target)
