"""Pairs from the train part: items consumed close to each other, and who consumed what."""

import polars as pl

from ilm.data.schema import ITEM_ITEM, USER_ITEM


def co_consumed(sequences: pl.DataFrame, window: int, neighbours: int) -> pl.DataFrame:
    """The table ITEM_ITEM: for each item the ones most often found within `window` positions of it, sorted.

    Counted in both directions; an item is not its own neighbour. Ties go to the lower index.

    Args:
        sequences: of step `split`; only the train part counts.
        window: largest distance in positions.
        neighbours: kept per item.
    """
    train = sequences.filter(pl.col("part") == "train").sort("user_index", "position")
    item, user = pl.col("item_index"), pl.col("user_index")
    near = []
    for distance in range(1, window + 1):
        same_user = user == user.shift(-distance)
        pairs = train.select(item, neighbour_index=pl.when(same_user).then(item.shift(-distance)))
        counted = pairs.drop_nulls().filter(item != pl.col("neighbour_index"))
        near.append(counted.group_by("item_index", "neighbour_index").len("count"))
    forward = pl.concat(near)
    backward = forward.select(item_index="neighbour_index", neighbour_index="item_index", count="count")
    totals = pl.concat([forward, backward]).group_by("item_index", "neighbour_index").agg(pl.col("count").sum())
    ranked = totals.sort(["item_index", "count", "neighbour_index"], descending=[False, True, False])
    kept = ranked.filter(pl.int_range(pl.len()).over("item_index") < neighbours)
    return kept.select(pl.col(name).cast(kind) for name, kind in ITEM_ITEM.items())


def consumed(sequences: pl.DataFrame) -> pl.DataFrame:
    """The table USER_ITEM: distinct (user, item) of the train part, sorted."""
    train = sequences.filter(pl.col("part") == "train")
    return train.select(list(USER_ITEM)).unique().sort(list(USER_ITEM))
