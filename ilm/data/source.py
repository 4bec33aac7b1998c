"""Where logs come from: every source gives the same two raw tables, and says which of their columns is which."""

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from ilm.data.schema import INTERACTIONS, ITEMS
from ilm.errors import DataError
from ilm.params import DataParams

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

    interactions: RawTable
    items: RawTable
    notice: str = ""
    """What the user should be told, such as terms of use."""


def load(params: DataParams) -> Source:
    """Read the source that params.yaml names.

    Raises:
        DataError: files are missing, unreadable or empty, or a needed column is missing.
    """
    if params.source == "movielens-small":
        from ilm.data.movielens import movielens_small

        source = movielens_small()
    else:
        from ilm.data.folder import read_file

        source = Source(
            RawTable(*read_file(Path(params.folder), "interactions"), params.interaction_columns),
            RawTable(*read_file(Path(params.folder), "items"), params.item_columns, "data.item_columns"),
        )
    _check_columns(source.interactions, list(INTERACTIONS), [["user_id"], ["item_id"], ["timestamp", "order"]])
    _check_columns(source.items, None, [[name] for name in ITEMS])
    return source


def _check_columns(table: RawTable, known: list[str] | None, needed: list[list[str]]) -> None:
    """All that is wrong with a table's columns, in one message.

    Args:
        table: the table.
        known: our columns; None where any further column is welcome.
        needed: groups of our columns; of each group one must be there.
    """
    problems = [
        f"{table.setting} names {ours}, which is not one of ours ({', '.join(known)})"
        for ours in table.columns
        if known is not None and ours not in known
    ]
    problems += [
        f"{table.setting} maps {ours} to {theirs}, which the file does not have"
        for ours, theirs in table.columns.items()
        if theirs not in table.names()
    ]
    missing = [
        " or ".join(group) for group in needed if not any(name in table.columns or table.has(name) for name in group)
    ]
    problems += [f"no column {name}" for name in missing]
    if problems:
        example = (missing[0] if missing else "item_id").split(" ")[0]
        raise DataError(
            f"{table.name}: {'; '.join(problems)}. The file has: {', '.join(table.names())}. "
            f"Map a column in params.yaml, for example {table.setting}: {{{example}: its_name_in_the_file}}."
        )
