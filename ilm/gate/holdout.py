"""The fresh holdout: what users did after the moment until which either model has seen the log.

A user's history before that moment, the cut, is shown, and the first item after it asked for: a case. Then that item is
shown, too, and the next one asked for, and so on. Of a newcomer, who has no history, the first few items are shown, as
when they are served. The same cases, from the same merged log, are put to both models; what a model does not know of
them is its miss.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.data.schema import INTERACTIONS
from ilm.data.split import in_order
from ilm.data.stable_hash import combine, hash_texts
from ilm.errors import ArtifactError, DataError
from ilm.params import GateParams, SplitParams

_COLUMNS = ("user_id", "item_id", "timestamp", "order", "event_type", "event_id")


@dataclass(frozen=True)
class Holdout:
    """n cases of u users over p items, which are numbered here by the order of their ids: models may number them
    differently."""

    cut: datetime
    """Neither model has seen what is later."""
    until: datetime | None
    """The latest interaction of the log; None if the log is empty."""
    users: Sequence[str]
    """[u] user ids, sorted."""
    item_ids: Sequence[str]
    """[p] ids of the items of the log before the cut, and of the cases."""
    met: NDArray[np.int64]
    """[p] interactions with the item before the cut, by anybody."""
    user: NDArray[np.int32]
    """[n] into `users`, sorted; every user has a case."""
    targets: NDArray[np.int32]
    """[n] into `item_ids`."""
    seen: Sequence[NDArray[np.int32]]
    """[n] the user's items before the target, oldest first, into `item_ids`."""
    newcomers: int
    """How many of the users have no interaction before the cut."""
    eligible: int
    """Users that could be judged; more than u if they were too many to score."""
    left_out: int
    """Newcomers with too few interactions to be judged."""

    @property
    def sha256(self) -> str:
        """Of all that is put to the models: two records with equal digests judged by the same cases."""
        whole = hashlib.sha256(f"{self.cut.isoformat()}\n".encode())
        whole.update("\n".join([*self.users, "", *self.item_ids]).encode())
        lengths = np.array([len(items) for items in self.seen], dtype="<i8")
        numbers_of = (self.met.astype("<i8"), self.user.astype("<i4"), self.targets.astype("<i4"), lengths)
        for numbers in numbers_of:
            whole.update(numbers.tobytes())
        for items in self.seen:
            whole.update(items.astype("<i4").tobytes())
        return whole.hexdigest()


def fresh_holdout(interactions: Path, cut: datetime, settings: GateParams) -> Holdout:
    """The cases after the cut; perhaps none. Memory: the log's items, and the histories of the users that are judged.

    Args:
        interactions: the merged log, a table INTERACTIONS.
        cut: the later one of the moments until which the models have seen the log; UTC.
        settings: `newcomer_history`, `targets` and `max_cases` are used.

    Raises:
        ArtifactError: the log is missing or damaged, or lacks a column.
        DataError: an interaction has no timestamp.
    """
    try:
        return _cases(_scan(interactions), interactions, cut, settings)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise ArtifactError(f"{interactions}: not readable ({error}). Run `dvc repro ingest`.") from error


def _cases(rows: pl.LazyFrame, where: Path, cut: datetime, settings: GateParams) -> Holdout:
    fresh = pl.col("timestamp") > cut
    total = rows.select(pl.col("timestamp").null_count().alias("nulls"), pl.col("timestamp").max().alias("until"))
    nulls, until = _collect(total).row(0)
    if nulls:
        raise DataError(
            f"{where}: {nulls:,} interactions have no timestamp, so nobody can tell which are fresh. Give timestamps; "
            "an order within each user is not enough for the gate."
        )
    of_user = rows.group_by("user_id").agg(fresh=fresh.sum(), before=(~fresh).sum())
    late = _collect(of_user.filter(pl.col("fresh") > 0)).sort("user_id")
    few = settings.newcomer_history
    enough = (pl.col("before") > 0) | ((pl.col("fresh") > few) & (few > 0))
    users = _drawn(eligible := late.filter(enough), cut, settings.max_cases)
    most = max(1, min(settings.targets, settings.max_cases // max(1, len(users))))
    counts = _collect(rows.filter(~fresh).group_by("item_id").len("met"))

    mine = _collect(rows.join(users.select("user_id").lazy(), on="user_id", how="semi"))
    numbered = users.with_row_index("user")
    mine = in_order(mine, SplitParams(strategy="global_time")).join(numbered, on="user_id", maintain_order="left")
    shown = pl.when(pl.col("before") > 0).then("before").otherwise(few)
    mine = mine.with_columns(place=pl.int_range(pl.len()).over("user_id"), shown=shown)
    mine = mine.filter(pl.col("place") < pl.col("shown") + most)
    item_ids = pl.concat([counts["item_id"], mine["item_id"]]).unique().sort()
    met = item_ids.to_frame().join(counts, on="item_id", how="left", maintain_order="left")["met"].fill_null(0)
    items, place = _numbered(mine["item_id"], item_ids), mine["place"].to_numpy()
    asked = np.flatnonzero(mine.select(pl.col("place") >= pl.col("shown")).to_series().to_numpy())
    return Holdout(
        cut=cut,
        until=until,
        users=users["user_id"].to_list(),
        item_ids=item_ids.to_list(),
        met=met.to_numpy().astype(np.int64),
        user=mine["user"].to_numpy()[asked].astype(np.int32),
        targets=items[asked],
        seen=[items[row - place[row] : row] for row in asked],  # views, so a user's cases share their history
        newcomers=int((users["before"] == 0).sum()),
        eligible=len(eligible),
        left_out=len(late) - len(eligible),
    )


def _scan(path: Path) -> pl.LazyFrame:
    rows = pl.scan_parquet(path)
    found = rows.collect_schema()
    wrong = [f"{name} should be {INTERACTIONS[name]}" for name in _COLUMNS if found.get(name) != INTERACTIONS[name]]
    if wrong:
        raise ArtifactError(f"{path}: not the table it should be: {'; '.join(wrong)}. Run `dvc repro ingest`.")
    return rows.select(_COLUMNS)


def _collect(rows: pl.LazyFrame) -> pl.DataFrame:
    return rows.collect(engine="streaming")


def _drawn(users: pl.DataFrame, cut: datetime, most: int) -> pl.DataFrame:
    """At most so many of the sorted users, sorted; with another cut, others."""
    if len(users) <= most:
        return users
    salt = np.repeat(hash_texts([cut.isoformat()]), len(users))
    drawn = combine(hash_texts(users["user_id"].to_list()), salt)
    return users[np.sort(np.argsort(drawn, kind="stable")[:most])]


def _numbered(items: pl.Series, item_ids: pl.Series) -> NDArray[np.int32]:
    return items.cast(pl.Enum(item_ids)).to_physical().to_numpy().astype(np.int32)
