"""What counts of the interactions, and their order. All fitting later sees only the part `train`."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.data.coded_log import CodedLog, Counts, numbered
from ilm.data.cut import Cut, cut_in_time
from ilm.data.k_core import Core, k_core, rows_of
from ilm.data.stable_hash import combine, hash_texts
from ilm.errors import DataError
from ilm.params import SplitParams


@dataclass(frozen=True)
class Kept:
    """What counts of a log."""

    known: Core
    """Who and what there is to learn from; with `global_time`, in rows before the test part."""
    cut: Cut | None
    """With `global_time`. Then every row of the test part counts, too."""
    user_rows: NDArray[np.int64]
    """[n_users]: rows that count."""
    item_rows: NDArray[np.int64]
    """[n_items]: likewise."""

    @property
    def counts(self) -> Counts:
        """Sizes of what counts."""
        users, items = (int(np.count_nonzero(rows)) for rows in (self.user_rows, self.item_rows))
        return Counts(users, items, int(self.user_rows.sum()))

    def of(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those of some rows of the log that count."""
        return rows.filter(pl.Series(_counting(self.known, self.cut, rows)))


def what_counts(log: CodedLog, params: SplitParams) -> Kept:
    """Find the cut and the k-core.

    With `leave_one_out` the k-core is taken of everything, as is usual: published sizes are of that. With `global_time`
    everything is cut first, and the k-core is of what lies before the test part: who and what there is to learn from
    must be known at that moment, too. The test part stays as it came, users and items that nobody knew included.

    Raises:
        ConfigError: as `cut_in_time`.
        DataError: as `cut_in_time`, or nothing is left.
    """
    cut = cut_in_time(log, params) if params.strategy == "global_time" and len(log.users) else None
    least = (params.min_user_interactions, params.min_item_interactions)
    known = k_core(log, *least, cut)
    if not known.users.any():
        rows = sum(map(len, log.batches("user")))
        raise DataError(
            f"No interactions are left of {rows:,} (users: {len(log.users):,} before, 0 after; items: "
            f"{len(log.items):,} before, 0 after): no group of users has {least[0]} interactions each with items that "
            f"have {least[1]} each. Lower split.min_user_interactions ({least[0]}) or split.min_item_interactions "
            f"({least[1]}) in params.yaml, or bring more data."
        )
    return Kept(known, cut, *rows_of(log, lambda rows: _counting(known, cut, rows)))


def with_known_items(interactions: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Without rows whose item has no text: the gate may tolerate some, but no text-based system can use them."""
    return interactions.join(items.select("item_id"), on="item_id", how="semi", maintain_order="left")


def moments(interactions: pl.DataFrame, params: SplitParams) -> list[str]:
    """The columns that say what came first: `order` where that is given, else `timestamp`.

    `global_time` cuts by timestamp, so there the timestamp comes first and `order` decides among equal ones.
    """
    given = ["order"] if interactions["order"].count() else []
    return ["timestamp", *given] if params.strategy == "global_time" else given or ["timestamp"]


def in_order(interactions: pl.DataFrame, params: SplitParams) -> pl.DataFrame:
    """Sort by user and then by `moments`.

    Ties are broken by a hash of user and item: the order of a file or of ids among equal timestamps would be an
    artificial signal, which sequential models find and exploit.
    """
    hashes = []
    for name in ("user_id", "item_id"):
        ids, places = numbered(interactions[name])
        hashes.append(hash_texts(ids.to_list())[places])
    content = ["item_id", "event_type", "event_id"]  # the same item at the same moment, again: still one definite order
    known = [name for name in content if name in interactions.columns]
    keys = ["user_id", *moments(interactions, params), "tie", *known]
    return interactions.with_columns(tie=combine(*hashes)).sort(keys, nulls_last=True).drop("tie")


def _counting(known: Core, cut: Cut | None, rows: pl.DataFrame) -> NDArray[np.bool_]:
    return known.has(rows) if cut is None else known.has(rows) | ~cut.known(rows)
