"""Interactions -> one ordered history per user, cut into train, valid and test. All fitting later sees only `train`."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.data.schema import PART
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
    users, items = codes(interactions["user_id"]), codes(interactions["item_id"])
    left = np.ones(len(interactions), dtype=bool)
    while True:
        enough = left & _often(users, left, min_user) & _often(items, left, min_item)
        if np.array_equal(enough, left):
            break
        left = enough
    kept = interactions.filter(pl.Series(left))
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
    given = ["order"] if interactions["order"].count() else []
    return ["timestamp", *given] if params.strategy == "global_time" else given or ["timestamp"]


def in_order(interactions: pl.DataFrame, params: SplitParams) -> pl.DataFrame:
    """Sort by user and then by `moments`.

    Ties are broken by a hash of user and item: the order of a file or of ids among equal timestamps would be an
    artificial signal, which sequential models find and exploit. A column `tie`
    says that hash where it is known already.
    """
    if "tie" not in interactions.columns:
        tie = combine(_hash_ids(interactions["user_id"]), _hash_ids(interactions["item_id"]))
        interactions = interactions.with_columns(tie=pl.Series(tie))
    content = ["item_id", "event_type", "event_id"]  # the same item at the same moment, again: still one definite order
    known = [name for name in content if name in interactions.columns]
    keys = ["user_id", *moments(interactions, params), "tie", *known]
    return interactions.sort(keys, nulls_last=True).drop("tie")


def what_counts(interactions: pl.DataFrame, params: SplitParams) -> pl.DataFrame:
    """The rows that are kept, in any order; with `global_time`, with their `part`.

    With `leave_one_out` the k-core is taken of everything, as is usual: published sizes are of that. With `global_time`
    everything is cut first, and the k-core is of what lies before the test part: who and what there is to learn from
    must be known at that moment, too. The test part stays as it came, users and items that nobody knew included.

    Raises:
        ConfigError: as `cut`.
        DataError: as `k_core` and `cut`.
    """
    cores = (params.min_user_interactions, params.min_item_interactions)
    if params.strategy == "leave_one_out":
        return k_core(interactions, *cores)
    parts = interactions.with_columns(part=_by_time(interactions["timestamp"], params))
    future = pl.col("part") == "test"
    return pl.concat([k_core(parts.filter(~future), *cores), parts.filter(future)])


def ordered_parts(rows: pl.DataFrame, params: SplitParams) -> pl.DataFrame:
    """Whole users of `what_counts` in order, with their `part`."""
    ordered = in_order(rows, params)
    return ordered if "part" in ordered.columns else ordered.with_columns(part=cut(ordered, params))


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


def known_at_cut(parts: pl.DataFrame, params: SplitParams) -> pl.DataFrame:
    """The rows of `what_counts` that may say who and what there is: with `global_time`, those before the test part."""
    return parts if params.strategy == "leave_one_out" else parts.filter(pl.col("part") != "test")


@dataclass(frozen=True)
class Counts:
    """Sizes of a table of interactions, for logs."""

    users: int
    items: int
    interactions: int


def count(interactions: pl.DataFrame) -> Counts:
    """Distinct users, distinct items, rows."""
    return Counts(interactions["user_id"].n_unique(), interactions["item_id"].n_unique(), len(interactions))


def tied(ordered: pl.DataFrame, params: SplitParams) -> int:
    """Rows of `in_order` that share their moment with another row of the same user."""
    as_before = [pl.col(name).eq_missing(pl.col(name).shift(1)) for name in ("user_id", *moments(ordered, params))]
    same = ordered.select(same=pl.all_horizontal(as_before) & (pl.int_range(pl.len()) > 0))["same"]
    return int((same | same.shift(-1, fill_value=False)).sum())


def codes(ids: pl.Series) -> NDArray[np.unsignedinteger]:
    """Each id's number among the sorted ids, or in its Enum, [rows]."""
    kind = ids.dtype if isinstance(ids.dtype, pl.Enum) else pl.Enum(ids.unique().sort())
    numbers: NDArray[np.unsignedinteger] = np.asarray(ids.cast(kind).to_physical())
    return numbers


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
    past = oldest_first[: oldest_first.search_sorted(test_from, "left")]
    valid_rows = max(1, round(len(past) * params.valid_fraction / (1 - params.test_fraction)))
    valid_from = past[-valid_rows] if len(past) >= valid_rows else test_from
    part = _name_parts(valid=(times >= valid_from) & (times < test_from), test=times >= test_from)
    empty = sorted({"train", "valid", "test"} - {*part.unique()})
    if empty:
        raise DataError(
            f"split.strategy is global_time, but too many interactions share one moment: {' and '.join(empty)} would "
            "be empty. Check the timestamps, or set split.strategy: leave_one_out in params.yaml."
        )
    return part


def _name_parts(*, valid: pl.Series, test: pl.Series) -> pl.Series:
    train_, valid_, test_ = (pl.lit(name, dtype=PART) for name in PART.categories)
    names = pl.when("test").then(test_).when("valid").then(valid_).otherwise(train_)
    return pl.select(test=test, valid=valid).select(part=names).to_series()


def _often(ids: NDArray[np.unsignedinteger], among: NDArray[np.bool_], times: int) -> NDArray[np.bool_]:
    """Whether each row's id stands in at least so many of the rows `among`, [rows]."""
    enough = np.bincount(ids[among], minlength=int(ids.max(initial=0)) + 1) >= times
    out: NDArray[np.bool_] = enough[ids]
    return out


def _hash_ids(ids: pl.Series) -> NDArray[np.uint64]:
    kind = ids.dtype if isinstance(ids.dtype, pl.Enum) else pl.Enum(ids.unique().sort())
    hashes: NDArray[np.uint64] = hash_texts(kind.categories.to_list())[codes(ids.cast(kind))]
    return hashes
