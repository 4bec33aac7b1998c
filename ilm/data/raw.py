"""Tables as they came from a source, before any rule: their own column names, and which of them is which of ours."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

import polars as pl

ROW = "__row"
"""Name of the row number in raw tables; no user's column is called so."""


@dataclass(frozen=True)
class RawTable:
    """A table as it came. `rows` has ROW (1-based, counting data rows) and the file's own columns."""

    name: str
    """File name, for messages and for the quarantine."""
    rows: pl.DataFrame
    columns: dict[str, str] = field(default_factory=dict)
    """Our column name -> the file's; columns not listed keep their names."""
    setting: str = "data.interaction_columns"
    """The setting that holds `columns`, for messages."""

    def column(self, ours: str) -> pl.Series | None:
        """The file's column for one of ours; None if it has none."""
        return self.rows[self.columns.get(ours, ours)].rename(ours) if self.has(ours) else None

    def has(self, ours: str) -> bool:
        """Whether one of our columns is there. A column that is mapped to another name no longer counts as its own."""
        return self.columns[ours] in self.names() if ours in self.columns else ours in self.unmapped()

    def unmapped(self) -> list[str]:
        """The file's columns that keep their names."""
        return [name for name in self.names() if name not in self.columns.values()]

    def names(self) -> list[str]:
        """The file's own columns."""
        return [name for name in self.rows.columns if name != ROW]

    def where(self, ours: str) -> str:
        """File and column, for messages."""
        return f"{self.name}, column {self.columns.get(ours, ours)}"


@dataclass(frozen=True)
class Source:
    """Interactions and items as they came."""

    interactions: RawTable | None
    """None: all interactions come by log files."""
    items: RawTable
    notice: str = ""
    """What the user should be told, such as terms of use."""


def as_json(record: dict[str, Any]) -> str:
    """A raw row as JSON, for the quarantine; what JSON cannot express (dates, bytes, NaN) as text."""
    plain = {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(plain, ensure_ascii=False, default=str)
