"""Log files as somebody drops them, and the store after reading them."""

import gzip
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from ilm.data.logs.files import find
from ilm.data.logs.merged import Merged, write_merged
from ilm.data.logs.update import Update, update
from ilm.data.schema import INTERACTIONS
from ilm.params import DataParams

Rows = Sequence[dict[str, Any]]

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
SETTINGS: dict[str, Any] = {"settle_seconds": 0, "max_quarantine_fraction": 1.0}
CATALOGUE = ("i1", "i2", "i3")


def drop(folder: Path, name: str, rows: Rows) -> Path:
    """Write rows in the form that the name says."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".parquet"):
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
        return path
    text = io.BytesIO()
    frame = pl.DataFrame(rows, infer_schema_length=None)
    frame.write_csv(text) if ".csv" in name else frame.write_ndjson(text)
    content = text.getvalue()
    path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    return path


def event(user: str = "u1", item: str = "i1", time: str = "2024-05-01T10:00:00", **more: Any) -> dict[str, Any]:
    """A row as logs have it."""
    return {"user_id": user, "item_id": item, "timestamp": time} | more


class Drops:
    """A logs folder and its store."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.root, self.logs, self.store = root, root / "logs", root / "store"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.params = DataParams(logs=str(self.logs), **SETTINGS | settings)

    def drop(self, name: str, rows: Rows) -> Path:
        return drop(self.logs, name, rows)

    def update(self, now: datetime = NOW) -> Update:
        found = find(self.logs, 0)
        return update(found.logs, self.store, self.params, EARLIEST, now)

    def merged(
        self, updated: Update, base: pl.DataFrame | None = None, catalogue: Sequence[str] = CATALOGUE
    ) -> tuple[pl.DataFrame, pl.DataFrame, Merged]:
        """Accepted and kept-aside rows."""
        paths = self.root / "interactions.parquet", self.root / "kept_aside.parquet"
        empty = pl.DataFrame(schema=dict(INTERACTIONS))
        counts = write_merged(empty if base is None else base, updated.store, pl.Series(catalogue), *paths)
        return pl.read_parquet(paths[0]), pl.read_parquet(paths[1]), counts

    def bytes(self) -> dict[str, bytes]:
        """Every file of the store."""
        return {
            path.relative_to(self.store).as_posix(): path.read_bytes()
            for path in sorted(self.store.rglob("*"))
            if path.is_file()
        }
