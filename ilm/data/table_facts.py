"""What is known of interactions only when all have been seen: how many, of how many users and items, until when."""

import polars as pl

from ilm.data.schema import INTERACTIONS

_WAITING_IDS = 1 << 23
"""Ids that may wait, some of them several times, before the different ones among them are looked for."""


class TableFacts:
    """Rows are added some at a time; memory holds the distinct ids."""

    def __init__(self) -> None:
        self._rows = 0
        self._ids: dict[str, list[pl.Series]] = {"user_id": [], "item_id": []}
        self._newest = pl.Series("newest", [None], INTERACTIONS["timestamp"])

    def add(self, rows: pl.DataFrame) -> None:
        """Take some rows of INTERACTIONS; a column that is not there says nothing."""
        self._rows += len(rows)
        for name in self._ids.keys() & set(rows.columns):
            self._ids[name].append(rows[name].drop_nulls().unique())
            if sum(map(len, self._ids[name])) > _WAITING_IDS:
                self._ids[name] = [pl.concat(self._ids[name]).unique()]
        if "timestamp" in rows.columns:
            newest = pl.Series("newest", [rows["timestamp"].max()], self._newest.dtype)
            self._newest = pl.select(pl.max_horizontal(self._newest, newest)).to_series()

    def frame(self) -> pl.DataFrame:
        """One row: `rows`, `users`, `items`, and `newest`, null where no row has a timestamp."""
        users, items = (pl.concat(ids).n_unique() if ids else 0 for ids in self._ids.values())
        return self._newest.to_frame().select(rows=self._rows, users=users, items=items, newest="newest")
