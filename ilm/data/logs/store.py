"""The state of the log store: good rows by event date (UTC) as Parquet, and a manifest of files and partitions.

It is a function of what lies in the logs folder, so it may be thrown away. Files are named after their content, and the
manifest is replaced last: a killed run leaves the old state whole.
"""

from collections.abc import Iterable
from datetime import date
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from ilm.data.logs.facts import IDS, FileFacts
from ilm.data.logs.typed import LOG_COLUMNS
from ilm.data.schema import INTERACTIONS, QUARANTINE, Schema, read_table
from ilm.errors import ArtifactError
from ilm.files import digest, write_json

EVENTS: Schema = {name: INTERACTIONS[name] for name in LOG_COLUMNS}
"""A partition: distinct rows, in the order of CONTENT."""
BAD_ROWS: Schema = {name: QUARANTINE[name] for name in ("row", "rule", "reason", "record")}
"""The part of QUARANTINE that the content of a file decides."""

MANIFEST = "manifest.json"
SHOWN = 16
"""Characters of a sha256 in file names."""


class Partition(BaseModel):
    """The rows of one event date."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int
    event_ids: int
    """Rows that have one."""
    sha256: str
    """Of the file, which is named after it."""


class Manifest(BaseModel):
    """What the store holds, and under which conditions it may be used."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    conditions: dict[str, str] = {}
    """Code, settings and versions that the bytes depend on."""
    files: dict[str, FileFacts] = {}
    """sha256 -> log file."""
    tables: dict[str, str] = {}
    """Name in the folder `files` -> sha256, of the tables of ids and of bad rows."""
    partitions: dict[date, Partition] = {}


class Store:
    """The folder as its manifest describes it."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest

    def events(self, days: Iterable[date]) -> pl.DataFrame:
        """EVENTS of these dates, oldest first if the dates are in order; dates without a partition have none."""
        paths = self._event_paths(days)
        return pl.read_parquet(paths, glob=False) if paths else pl.DataFrame(schema=dict(EVENTS))

    def event_ids(self, days: Iterable[date]) -> pl.Series:
        """That column of `events`."""
        paths = self._event_paths(days)
        column = ["event_id"]
        return pl.read_parquet(paths, glob=False, columns=column)["event_id"] if paths else pl.Series(dtype=pl.String)

    def _event_paths(self, days: Iterable[date]) -> list[Path]:
        parts = self.manifest.partitions
        return [self.event_path(day, parts[day]) for day in days if day in parts]

    def event_path(self, day: date, partition: Partition) -> Path:
        """Where the rows of a date lie."""
        return self.folder / "events" / f"{day.isoformat()}.{partition.sha256[:SHOWN]}.parquet"

    def ids(self, sha256: str) -> pl.DataFrame:
        """IDS of one file."""
        return read_table(self.ids_path(sha256), IDS)

    def ids_path(self, sha256: str) -> Path:
        """Where the users and items of one file lie."""
        return self.folder / "files" / f"{sha256[:SHOWN]}.ids.parquet"

    def bad_rows(self, sha256: str) -> pl.DataFrame:
        """BAD_ROWS of one file."""
        return read_table(self.bad_rows_path(sha256), BAD_ROWS)

    def bad_rows_path(self, sha256: str) -> Path:
        """Where the quarantined rows of one file lie, if it has any."""
        return self.folder / "files" / f"{sha256[:SHOWN]}.bad.parquet"

    def paths(self) -> dict[Path, str]:
        """All Parquet files that the manifest stands for, with their sha256."""
        events = self.manifest.partitions.items()
        return {self.event_path(day, partition): partition.sha256 for day, partition in events} | {
            self.folder / "files" / name: sha256 for name, sha256 in self.manifest.tables.items()
        }


def open_store(folder: Path, conditions: dict[str, str]) -> tuple[Store, str | None]:
    """The store if it is whole and was made under these conditions, else an empty one.

    Returns:
        The store, and why an earlier state cannot be used, if there is one.
    """
    empty = Store(folder, Manifest(conditions=conditions))
    try:
        store = Store(folder, read_manifest(folder))
    except ArtifactError as error:
        return empty, str(error) if (folder / MANIFEST).exists() else None
    if store.manifest.conditions != conditions:
        return empty, "code, settings or versions have changed" if store.manifest.files else None
    for path, sha256 in store.paths().items():
        if not path.is_file() or digest(path) != sha256:
            return empty, f"{path} is missing or damaged"
    return store, None


def read_manifest(folder: Path) -> Manifest:
    """What the store holds.

    Raises:
        ArtifactError: missing or damaged.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ArtifactError(f"{path}: not found. Run the step that writes it: `dvc repro ingest`.") from None
    except ValidationError as error:
        raise ArtifactError(f"{path}: damaged ({error.errors()[0]['msg']}). Run step `ingest` again.") from None


def commit(store: Store, made: Path) -> None:
    """Make `store` the state of its folder: move in what was made, replace the manifest, remove what no longer counts.

    Args:
        store: with the new manifest.
        made: folder on the same disk with the new files, laid out as in the store.
    """
    for path in sorted(made.rglob("*.parquet")):
        target = store.folder / path.relative_to(made)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    write_json(store.folder / MANIFEST, store.manifest.model_dump(mode="json"))
    counting = store.paths()
    for path in [path for path in store.folder.rglob("*.parquet") if path not in counting]:
        path.unlink()


def write_partition(rows: pl.DataFrame, day: date, folder: Path) -> Partition:
    """Write the rows of a date into a temporary folder, named after the content; equal rows give equal bytes."""
    temporary = folder / f"{day.isoformat()}.parquet"
    rows.write_parquet(
        temporary, compression="lz4", statistics=False, row_group_size=1 << 20
    )  # read often, always whole
    partition = Partition(rows=len(rows), event_ids=rows["event_id"].count(), sha256=digest(temporary))
    temporary.replace(Store(folder, Manifest()).event_path(day, partition))
    return partition
