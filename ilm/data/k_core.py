"""The k-core of a log: who has enough interactions with items that have enough, counted a batch of rows at a time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.data.coded_log import CodedLog
from ilm.data.cut import Cut


@dataclass(frozen=True)
class Core:
    """The users and items that are left. A row is left where both are."""

    users: NDArray[np.bool_]
    """[n_users]"""
    items: NDArray[np.bool_]
    """[n_items]"""

    def has(self, rows: pl.DataFrame) -> NDArray[np.bool_]:
        """Whether each row is left, [rows]."""
        left: NDArray[np.bool_] = self.users[rows["user"].to_numpy()] & self.items[rows["item"].to_numpy()]
        return left


def k_core(log: CodedLog, min_user: int, min_item: int, cut: Cut | None = None) -> Core:
    """Drop users with fewer than `min_user` rows and items with fewer than `min_item`, until none is left to drop.

    Goes through the log once for every time that somebody is dropped, and once more.

    Args:
        log: users and items as numbers.
        min_user: rows that a user needs.
        min_item: rows that an item needs.
        cut: of the rows before the test part only.
    """
    core = Core(np.ones(len(log.users), dtype=bool), np.ones(len(log.items), dtype=bool))
    while True:
        users, items = rows_of(log, _left(core, cut))
        left = Core(core.users & (users >= min_user), core.items & (items >= min_item))
        if np.array_equal(left.users, core.users) and np.array_equal(left.items, core.items):
            return left
        core = left


def rows_of(
    log: CodedLog, counting: Callable[[pl.DataFrame], NDArray[np.bool_]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of each user [n_users] and of each item [n_items].

    Args:
        log: users and items as numbers.
        counting: some rows (user, item, timestamp) -> whether each counts, [rows].
    """
    users, items = np.zeros(len(log.users), dtype=np.int64), np.zeros(len(log.items), dtype=np.int64)
    for rows in log.batches("user", "item", "timestamp"):
        chosen = counting(rows)
        users += np.bincount(rows["user"].to_numpy()[chosen], minlength=len(users))
        items += np.bincount(rows["item"].to_numpy()[chosen], minlength=len(items))
    return users, items


def _left(core: Core, cut: Cut | None) -> Callable[[pl.DataFrame], NDArray[np.bool_]]:
    return core.has if cut is None else lambda rows: core.has(rows) & cut.known(rows)
