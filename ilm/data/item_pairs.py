"""Pairs from the train part: items consumed close to each other, and who consumed what."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from ilm.data.portions import ROWS, by_users, portions
from ilm.data.schema import ITEM_ITEM, USER_ITEM


def co_consumed(sequences: pl.DataFrame, window: int, neighbours: int, at_once: int = ROWS) -> pl.DataFrame:
    """The table ITEM_ITEM: for each item the ones most often found within `window` positions of it, sorted.

    Counted in both directions; an item is not its own neighbour. Ties go to the lower index.

    Args:
        sequences: of step `split`, sorted by user and position; only the train part counts.
        window: largest distance in positions.
        neighbours: kept per item.
        at_once: rows whose items' neighbours are counted at a time.
    """
    train = sequences.filter(pl.col("part") == "train")
    users, items = (train[name].to_numpy() for name in ("user_index", "item_index"))
    near = []
    for distance in range(1, window + 1):
        one, other = items[:-distance], items[distance:]
        near.append((one, other, (users[:-distance] == users[distance:]) & (one != other)))
    of_items = [_most_often(near, *items_, neighbours) for items_ in portions(np.bincount(items), at_once)]
    return pl.concat([pl.DataFrame(schema=ITEM_ITEM), *of_items])


def _most_often(
    near: list[tuple[np.ndarray, np.ndarray, np.ndarray]], first: int, after: int, neighbours: int
) -> pl.DataFrame:
    """The neighbours of the items from `first` up to `after`.

    Args:
        near: per distance the items of two places, and whether they are a pair; [rows] each.
    """
    pairs = []
    for one, other, is_pair in near:
        for item, neighbour in ((one, other), (other, one)):
            here = is_pair & (item >= first) & (item < after)
            pairs.append(item[here].astype(np.int64) << 32 | neighbour[here])
    pair, count = np.unique(np.concatenate(pairs), return_counts=True)
    counted = pl.DataFrame({"item_index": pair >> 32, "neighbour_index": pair & 0xFFFFFFFF, "count": count})
    ranked = counted.sort(["item_index", "count", "neighbour_index"], descending=[False, True, False])
    kept = ranked.filter(pl.int_range(pl.len()).over("item_index") < neighbours)
    return kept.select(pl.col(name).cast(kind) for name, kind in ITEM_ITEM.items())


def consumed(sequences: pl.DataFrame, at_once: int = ROWS) -> Iterator[pl.DataFrame]:
    """The table USER_ITEM, piece by piece: distinct (user, item) of the train part, sorted.

    Args:
        sequences: of step `split`, sorted by user and position.
        at_once: rows of `sequences` that are worked on at a time.
    """
    for some in by_users(sequences, at_once):
        yield some.filter(pl.col("part") == "train").select(list(USER_ITEM)).unique().sort(list(USER_ITEM))
