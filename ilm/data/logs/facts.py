"""What one log file holds, counted once when it is read: a function of its content, the rules, and the horizon."""

from datetime import date, datetime
from functools import cached_property
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from ilm.data.logs.files import Rejected
from ilm.data.schema import Schema

MAY_LACK = ("rating", "event_type", "event_id")
NO_TYPE, OTHER_TYPES = "(none)", "(other)"
TYPES_KEPT = 50

IDS: Schema = {"kind": pl.String, "id": pl.String}
"""The distinct users and items of one file; `kind` is "user" or "item"."""


class FileFacts(BaseModel):
    """One log file. Sums over files are sums over their rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """In the logs folder when it was last seen; of several files with this content, the first name."""
    rejected: tuple[str, str] | None = None
    """Rule and reason, where the file cannot be used as a whole; then all below is empty."""
    rows: int = 0
    quarantined: dict[str, int] = {}
    """Rule -> rows set aside."""
    next_future: datetime | None = None
    """The earliest moment of a row that has not happened yet."""
    first: datetime | None = None
    last: datetime | None = None
    dates: dict[date, int] = {}
    """Event date (UTC) -> good rows."""
    hours: dict[int, int] = {}
    """Hour of the day (UTC) -> good rows."""
    types: dict[str, int] = {}
    """event_type -> good rows, the TYPES_KEPT most frequent ones; NO_TYPE where there is none."""
    missing: dict[str, int] = {}
    """Of the columns MAY_LACK: good rows without a value."""
    users: int = 0
    items: int = 0

    @property
    def good(self) -> int:
        """Rows that broke no rule."""
        return sum(self.dates.values())

    @property
    def bad(self) -> int:
        """Rows in quarantine."""
        return sum(self.quarantined.values())


class Counting:
    """Counts the blocks of one file."""

    def __init__(self) -> None:
        self._rows = 0
        self._bad: list[pl.DataFrame] = []
        self._counts: dict[str, list[pl.DataFrame]] = {"dates": [], "hours": [], "types": []}
        self._missing = dict.fromkeys(MAY_LACK, 0)
        self._moments: list[datetime] = []
        self._future: list[datetime] = []
        self._ids: dict[str, list[pl.Series]] = {"user": [], "item": []}

    def add(self, good: pl.DataFrame, bad: pl.DataFrame, next_future: datetime | None) -> None:
        """Count one block.

        Args:
            good: typed rows.
            bad: with a column `rule`.
            next_future: earliest moment of a row that has not happened yet.
        """
        self._rows += len(good) + len(bad)
        self._bad.append(bad.group_by("rule").len())
        self._future += [] if next_future is None else [next_future]
        if good.is_empty():
            return
        moments = good["timestamp"]
        keys = {"dates": moments.dt.date(), "hours": moments.dt.hour(), "types": good["event_type"].fill_null(NO_TYPE)}
        for name, values in keys.items():
            self._counts[name].append(values.rename("key").value_counts(name="rows"))
        for name in MAY_LACK:
            self._missing[name] += good[name].null_count()
        self._moments += [moments.min(), moments.max()]  # type: ignore[list-item]
        for kind, ids in self._ids.items():
            ids.append(good[f"{kind}_id"].unique())

    def facts(self, name: str) -> FileFacts:
        """All that was counted; nothing can be added any more."""
        bad = pl.concat(self._bad).group_by("rule").agg(pl.col("len").sum()).sort("rule") if self._bad else None
        return FileFacts(
            name=name,
            rows=self._rows,
            quarantined=dict(bad.iter_rows()) if bad is not None else {},
            next_future=min(self._future, default=None),
            first=min(self._moments, default=None),
            last=max(self._moments, default=None),
            missing=self._missing,
            users=len(self._distinct["user"]),
            items=len(self._distinct["item"]),
            dates=_summed(self._counts["dates"]),
            hours=_summed(self._counts["hours"]),
            types=_most_frequent(_summed(self._counts["types"])),
        )

    def ids(self) -> pl.DataFrame:
        """The table IDS, sorted."""
        parts = [ids.to_frame("id").with_columns(kind=pl.lit(kind)) for kind, ids in self._distinct.items()]
        return pl.concat(parts).select(list(IDS))

    @cached_property
    def _distinct(self) -> dict[str, pl.Series]:
        return {kind: pl.concat([pl.Series(dtype=pl.String), *ids]).unique().sort() for kind, ids in self._ids.items()}


def rejected_facts(name: str, error: Rejected) -> FileFacts:
    """Of a file that cannot be used as a whole."""
    return FileFacts(name=name, rejected=(error.rule, str(error)))


def _summed(counts: list[pl.DataFrame]) -> dict[Any, int]:
    if not counts:
        return {}
    return dict(pl.concat(counts).group_by("key").agg(pl.col("rows").sum()).sort("key").iter_rows())


def _most_frequent(types: dict[str, int]) -> dict[str, int]:
    kept = sorted(types, key=lambda name: (-types[name], name))[:TYPES_KEPT]
    others = sum(types.values()) - sum(types[name] for name in kept)
    return {name: types[name] for name in sorted(kept)} | ({OTHER_TYPES: others} if others else {})
