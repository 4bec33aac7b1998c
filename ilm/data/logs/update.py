"""What lies in the logs folder -> the store: only what is new is read, only the event dates it touches are rewritten.

The result is a function of the files, never of when they came. A row's place is decided by what it says: a partition
is the set of distinct rows of its date. So a file that is gone takes its rows along: the dates it touched are made anew
from the files that are left.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import polars as pl

from ilm.data.logs.facts import FileFacts
from ilm.data.logs.files import LogFile
from ilm.data.logs.ordering import distinct, in_order
from ilm.data.logs.quarantine import check_shares
from ilm.data.logs.reading import Reader
from ilm.data.logs.spill import Spill
from ilm.data.logs.store import SHOWN, Manifest, Partition, Store, commit, open_store, write_partition
from ilm.data.logs.typed import names_that_count
from ilm.data.rules import log_rules
from ilm.errors import DataError
from ilm.files import digest
from ilm.params import DataParams

CHUNK_ROWS = 1 << 20
"""Rows of neighbouring dates that are sorted together; a date is never cut, so the largest one bounds memory."""


@dataclass(frozen=True)
class Update:
    """What one update did."""

    store: Store
    read: list[str]
    """sha256 of the files that were read for the first time."""
    gone: list[str]
    """Names of files that are no longer there, and their rows with them."""
    left: list[str]
    """Names of files that changed while they were read: left for the next run."""
    rewritten: list[date]
    """Event dates whose partition is not what it was."""
    late: int
    """New rows of dates before the last date that was there."""
    rebuilt: str | None
    """Why the earlier state could not be used."""


@dataclass(frozen=True)
class _Plan:
    """What an update has to do."""

    read: dict[str, set[date] | None]
    """sha256 -> the dates that are wanted of it; None: all."""
    dropped: set[date]
    """Dates to make anew."""
    gone: list[str]
    """Names of files that are no longer there."""


def update(files: list[LogFile], folder: Path, params: DataParams, earliest: datetime, now: datetime) -> Update:
    """Bring the store in `folder` to what `files` say.

    Equal contents of files, settings, code and verdicts about the future give equal bytes, whatever was there before.

    Args:
        files: all log files that count.
        folder: of the store; made if it is not there.
        params: section `data`.
        earliest: `validate.earliest`.
        now: current time with zone.

    Raises:
        DataError: too many rows are bad, or a known file changed meanwhile; the store is then as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in [*folder.parent.glob(f".{folder.name}.*"), *folder.glob(".*")]:  # of a run that was killed
        shutil.rmtree(leftover)
    old, rebuilt = open_store(folder, _conditions(params, earliest))
    present = {file.sha256: file for file in sorted(files, key=lambda file: file.name, reverse=True)}
    horizon = now + timedelta(seconds=params.max_clock_skew)
    plan = _plan(old.manifest, set(present), horizon)
    temporary = tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent, ignore_cleanup_errors=True)
    with temporary, ThreadPoolExecutor(1) as pool:
        made = Path(temporary.name)
        for name in ("files", "events", "runs"):
            (made / name).mkdir()
        spill = Spill(made / "runs", pool)
        reader = Reader(names_that_count(params), log_rules(earliest, horizon), spill, Store(made, Manifest()))
        facts = {sha: old.manifest.files[sha] for sha in present if sha in old.manifest.files}
        left = []
        for sha, days in plan.read.items():
            found = reader.read(present[sha], days)
            if found is not None:
                facts[sha] = found
            elif sha in facts:
                raise DataError(f"{present[sha].path}: changed while it was read. Run the step again.")
            else:
                left.append(present[sha].name)
        facts = {sha: facts[sha].model_copy(update={"name": present[sha].name}) for sha in sorted(facts)}
        check_shares(facts, [Store(made, Manifest()), old], params.max_quarantine_fraction)
        partitions = _merge(spill, old, plan.dropped, made)
        tables = _tables(old.manifest, facts, made / "files")
        manifest = Manifest(conditions=old.manifest.conditions, files=facts, tables=tables, partitions=partitions)
        store = Store(folder, manifest)
        commit(store, made)
    read = [sha for sha in plan.read if sha in facts and sha not in old.manifest.files]
    return Update(store, read, plan.gone, left, *_difference(old.manifest.partitions, partitions), rebuilt)


def _conditions(params: DataParams, earliest: datetime) -> dict[str, str]:
    """All that the store's bytes depend on beside the files and the horizon."""
    code = Path(__file__).parents[1]
    sources = sha256("".join(digest(file) for file in sorted(code.rglob("*.py"))).encode())
    return {
        "code": sources.hexdigest(),
        "polars": pl.__version__,
        "data.log_columns": json.dumps(names_that_count(params), sort_keys=True),
        "validate.earliest": earliest.isoformat(),
    }


def _plan(old: Manifest, present: set[str], horizon: datetime) -> _Plan:
    due, back, gone = set(), set(), []
    for sha, facts in old.files.items():
        if sha not in present:
            gone.append(sha)
        elif facts.last is not None and facts.last > horizon:
            back.add(sha)  # the clock went back: what had happened is now to come
        elif facts.next_future is not None and facts.next_future <= horizon:
            due.add(sha)
    dropped = {day for sha in (*gone, *back) for day in old.files[sha].dates}
    read: dict[str, set[date] | None] = dict.fromkeys(sorted((present - old.files.keys()) | due | back))
    for sha in sorted(present & old.files.keys() - read.keys()):
        if shared := dropped & old.files[sha].dates.keys():
            read[sha] = shared
    return _Plan(read, dropped, sorted(old.files[sha].name for sha in gone))


def _tables(old: Manifest, facts: dict[str, FileFacts], made: Path) -> dict[str, str]:
    """Name -> sha256 of the tables about the files that count."""
    new = {path.name: digest(path) for path in made.iterdir()}
    about = {sha[:SHOWN] for sha in facts}
    replaced = {name.split(".")[0] for name in new}  # read again: perhaps without bad rows now
    kept = {name: sha for name, sha in old.tables.items() if name.split(".")[0] in about - replaced}
    return dict(sorted((kept | new).items()))


def _merge(spill: Spill, old: Store, dropped: set[date], made: Path) -> dict[date, Partition]:
    """All partitions, those that are touched written to `made`."""
    partitions = {day: part for day, part in old.manifest.partitions.items() if day not in dropped}
    kept = Store(old.folder, old.manifest.model_copy(update={"partitions": partitions}))
    new = spill.rows_by_date()
    weights = {day: rows + (partitions[day].rows if day in partitions else 0) for day, rows in new.items()}
    written: dict[date, Partition] = {}
    writing: list[tuple[date, Future[Partition]]] = []
    with ThreadPoolExecutor() as pool:  # while the next chunk is sorted
        for days in chunks(weights):
            rows = distinct(in_order(pl.concat([*spill.take(days[0], days[-1]), kept.events(days)])))
            lengths = rows["timestamp"].dt.date().rle().struct.field("len")
            parts = map(rows.slice, lengths.cum_sum() - lengths, lengths)
            written.update((day, done.result()) for day, done in writing)
            writing = [
                (day, pool.submit(write_partition, part, day, made)) for day, part in zip(days, parts, strict=True)
            ]
        written.update((day, done.result()) for day, done in writing)
    return dict(sorted((partitions | written).items()))


def chunks(weights: dict[date, int]) -> Iterator[list[date]]:
    """Neighbouring dates, in order, with about CHUNK_ROWS rows together.

    Args:
        weights: date -> rows, dates in order.
    """
    total = 0
    places = {}
    for day, rows in weights.items():
        places[day] = total // CHUNK_ROWS
        total += rows
    for _, days in groupby(weights, key=places.__getitem__):
        yield list(days)


def _difference(old: dict[date, Partition], new: dict[date, Partition]) -> tuple[list[date], int]:
    """Dates whose rows are not what they were; and how many rows came for dates before the last one that was there."""
    rewritten = sorted(day for day in old.keys() | new.keys() if old.get(day) != new.get(day))
    last = max(old, default=date.min)
    grown = {day: new[day].rows - (old[day].rows if day in old else 0) for day in rewritten if day in new}
    return rewritten, sum(max(rows, 0) for day, rows in grown.items() if day < last)
