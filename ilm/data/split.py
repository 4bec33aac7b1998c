"""Interactions -> one ordered history per user, cut into train, valid and test. All fitting later sees only `train`."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.data.schema import SEQUENCES
from ilm.data.stable_hash import combine, hash_texts
from ilm.errors import ConfigError, DataError
from ilm.params import SplitParams


def k_core(interactions: pl.DataFrame, min_user: int, min_item: int) -> pl.DataFrame:
    """Drop users with fewer than `min_user` rows and items with fewer than `min_item`, until none is left to drop.

    Args:
        interactions: user_id, item_id (texts or Enum) and any further columns; the order of rows is kept.
        min_user: rows that a user needs.
        min_item: rows that an item needs.

    Raises:
        DataError: nothing is left.
    """
    kept = interactions
    enough = (pl.len().over("user_id") >= min_user) & (pl.len().over("item_id") >= min_item)
    while True:
        rows = len(kept)
        kept = kept.filter(enough)
        if len(kept) == rows:
            break
    if kept.is_empty():
        raise DataError(
            f"No interactions are left of {len(interactions):,} (users: {interactions['user_id'].n_unique():,} before, "
            f"0 after; items: {interactions['item_id'].n_unique():,} before, 0 after): no group of users has "
            f"{min_user} interactions each with items that have {min_item} each. Lower split.min_user_interactions "
            f"({min_user}) or split.min_item_interactions ({min_item}) in params.yaml, or bring more data."
        )
    return kept


def with_known_items(interactions: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Without rows whose item has no text: the gate may tolerate some, but no text-based system can use them."""
    return interactions.join(items.select("item_id"), on="item_id", how="semi", maintain_order="left")


def moments(interactions: pl.DataFrame, params: SplitParams) -> list[str]:
    """The columns that say what came first: `order` where that is given, else `timestamp`.

    `global_time` cuts by timestamp, so there the timestamp comes first and `order` decides among equal ones.
    """
    if params.strategy == "global_time":
        return ["timestamp", "order"]
    return ["order"] if interactions["order"].count() else ["timestamp"]


def in_order(interactions: pl.DataFrame, params: SplitParams) -> pl.DataFrame:
    """Sort by user and then by `moments`.

    Ties are broken by a hash of user and item: the order of a file or of ids among equal timestamps would be an
    artificial signal, which sequential models find and exploit.
    """
    tie = combine(_hash_ids(interactions["user_id"]), _hash_ids(interactions["item_id"]))
    content = ["item_id", "event_type", "event_id"]  # the same item at the same moment, again: still one definite order
    known = [name for name in content if name in interactions.columns]
    keys = ["user_id", *moments(interactions, params), "tie", *known]
    return interactions.with_columns(tie=pl.Series(tie)).sort(keys, nulls_last=True).drop("tie")


def divided(interactions: pl.DataFrame, params: SplitParams) -> pl.DataFrame:
    """The rows that count, in order, with their `part`.

    With `leave_one_out` the k-core is taken of everything, as is usual: published sizes are of that. With `global_time`
    everything is cut first, and the k-core is of what lies before the test part: who and what there is to learn from
    must be known at that moment, too. The test part stays as it came, users and items that nobody knew included.

    Raises:
        ConfigError: as `cut`.
        DataError: as `k_core` and `cut`.
    """
    cores = (params.min_user_interactions, params.min_item_interactions)
    if params.strategy == "leave_one_out":
        ordered = in_order(k_core(interactions, *cores), params)
        return ordered.with_columns(part=cut(ordered, params))
    ordered = in_order(interactions, params)
    parts = ordered.with_columns(part=cut(ordered, params))
    future = pl.col("part") == "test"
    return in_order(pl.concat([k_core(parts.filter(~future), *cores), parts.filter(future)]), params)


def cut(ordered: pl.DataFrame, params: SplitParams) -> pl.Series:
    """The part ("train", "valid", "test") of every row.

    Args:
        ordered: of `in_order`.
        params: section `split`.

    Raises:
        ConfigError: the fractions leave nothing to train on.
        DataError: `global_time` without timestamps, or no train rows.
    """
    if params.strategy == "leave_one_out":
        after = ordered.select(pl.int_range(pl.len()).reverse().over("user_id")).to_series()
        return _name_parts(valid=after == 1, test=after == 0)
    return _by_time(ordered["timestamp"], params)


def fitted_until(parts: pl.DataFrame) -> datetime | None:
    """The moment of the latest train row: what comes after it, no model of this split has learned from.

    Args:
        parts: of `divided`.

    Returns:
        A UTC time; None where a train row has an order only, so that nobody can tell.
    """
    times = parts.filter(part="train")["timestamp"]
    latest = times.max()
    return latest if isinstance(latest, datetime) and not times.null_count() else None


def known_at_cut(parts: pl.DataFrame, params: SplitParams) -> pl.DataFrame:
    """The rows of `divided` that may say who and what there is: with `global_time`, those before the test part."""
    return parts if params.strategy == "leave_one_out" else parts.filter(pl.col("part") != "test")


def sequences(parts: pl.DataFrame, user_ids: pl.DataFrame, item_ids: pl.DataFrame) -> pl.DataFrame:
    """The table SEQUENCES: indexes instead of ids, positions within each user, oldest first.

    Args:
        parts: of `divided`.
        user_ids: map that covers all users.
        item_ids: map that covers all items.
    """
    position = pl.int_range(pl.len(), dtype=pl.Int32).over("user_id")
    maps = [
        ids.with_columns(pl.col(name).cast(parts.schema[name], strict=False)).drop_nulls()
        for name, ids in (("user_id", user_ids), ("item_id", item_ids))
    ]
    indexed = (
        parts.select("user_id", "item_id", "part", position=position)
        .join(maps[0], on="user_id", how="left", maintain_order="left")
        .join(maps[1], on="item_id", how="left", maintain_order="left")
    )
    return indexed.sort("user_index", "position").select(list(SEQUENCES))


@dataclass(frozen=True)
class Counts:
    """Sizes of a table of interactions, for logs."""

    users: int
    items: int
    interactions: int


def count(interactions: pl.DataFrame) -> Counts:
    """Distinct users, distinct items, rows."""
    return Counts(interactions["user_id"].n_unique(), interactions["item_id"].n_unique(), len(interactions))


def tied_fraction(interactions: pl.DataFrame, params: SplitParams) -> float:
    """Share of rows that share their moment with another row of the same user: there the order is arbitrary."""
    alone = pl.struct("user_id", *moments(interactions, params)).is_unique()
    return 1.0 - float(interactions.select(alone.mean()).item())


def _by_time(times: pl.Series, params: SplitParams) -> pl.Series:
    """Cut at the two moments after which the wanted shares of all rows lie; equal moments stay together. The earlier
    one is found without the test part: what it holds, nobody knows yet."""
    if params.valid_fraction + params.test_fraction >= 1 or params.test_fraction == 0 or params.valid_fraction == 0:
        raise ConfigError(
            f"params.yaml: split.valid_fraction ({params.valid_fraction}) and split.test_fraction "
            f"({params.test_fraction}) must be above 0 and together below 1. Try 0.1 and 0.1."
        )
    if times.null_count():
        raise DataError(
            f"split.strategy is global_time, but {times.null_count():,} of {len(times):,} interactions have no "
            "timestamp (only an order). Add timestamps, or set split.strategy: leave_one_out in params.yaml."
        )
    oldest_first = times.sort()
    rows = len(times)
    test_from = oldest_first[rows - max(1, round(rows * params.test_fraction))]
    past = oldest_first.filter(oldest_first < test_from)
    valid_rows = max(1, round(len(past) * params.valid_fraction / (1 - params.test_fraction)))
    valid_from = past[-valid_rows] if len(past) >= valid_rows else test_from
    part = _name_parts(valid=(times >= valid_from) & (times < test_from), test=times >= test_from)
    empty = sorted({"train", "valid", "test"} - set(part))
    if empty:
        raise DataError(
            f"split.strategy is global_time, but too many interactions share one moment: {' and '.join(empty)} would "
            "be empty. Check the timestamps, or set split.strategy: leave_one_out in params.yaml."
        )
    return part


def _name_parts(*, valid: pl.Series, test: pl.Series) -> pl.Series:
    names = pl.when("test").then(pl.lit("test")).when("valid").then(pl.lit("valid")).otherwise(pl.lit("train"))
    return pl.select(test=test, valid=valid).select(part=names).to_series()


def _hash_ids(ids: pl.Series) -> NDArray[np.uint64]:
    kind = ids.dtype if isinstance(ids.dtype, pl.Enum) else pl.Enum(ids.unique().sort())
    codes: NDArray[np.uint32] = ids.cast(kind).to_physical().to_numpy()
    return hash_texts(kind.categories.to_list())[codes]
