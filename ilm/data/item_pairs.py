"""Pairs from the train part: items consumed close to each other, and who consumed what."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.data.batches import ROWS
from ilm.data.buckets import Buckets, portions, runs
from ilm.data.schema import ITEM_ITEM, USER_ITEM


def item_rows(sequences: Iterable[pl.DataFrame], items: int) -> NDArray[np.int64]:
    """Rows of each item in the train part, [items].

    Args:
        sequences: of step `split`, some rows at a time.
        items: in the catalogue.
    """
    counts = np.zeros(items, dtype=np.int64)
    for some in sequences:
        counts += np.bincount(some.filter(pl.col("part") == "train")["item_index"].to_numpy(), minlength=items)
    return counts


def co_consumed(
    sequences: Iterable[pl.DataFrame],
    rows: NDArray[np.int64],
    window: int,
    neighbours: int,
    folder: Path,
    at_once: int = ROWS,
) -> Iterator[pl.DataFrame]:
    """The table ITEM_ITEM, piece by piece: for each item the ones most often found within `window` positions of it.

    Sorted. Counted in both directions; an item is not its own neighbour. Ties go to the lower index. Pairs are dealt
    out to files by item, and the pairs of each file are counted by themselves.

    Args:
        sequences: of step `split`, sorted by user and position, whole users at a time; only the train part counts.
        rows: of `item_rows`.
        window: largest distance in positions.
        neighbours: kept per item.
        folder: is there and empty; the caller removes it.
        at_once: rows whose items' neighbours are counted at a time.
    """
    starts = [first for first, _ in portions(rows, at_once)]
    buckets = Buckets(folder)
    for some in sequences:
        pair, count = np.unique(_near(some.filter(pl.col("part") == "train"), window), return_counts=True)
        pairs = pl.DataFrame({"pair": pair, "count": count.astype(np.int32)})
        buckets.add(pairs, np.searchsorted(starts, pair >> 32, side="right") - 1)
    for bucket in range(len(starts)):
        for pairs in buckets.take(bucket):
            yield _most_often(pairs, neighbours)


def _near(train: pl.DataFrame, window: int) -> NDArray[np.int64]:
    """Item and neighbour of every two places that are at most `window` apart, both ways, as one number each."""
    users, items = (train[name].to_numpy() for name in ("user_index", "item_index"))
    pairs = [np.zeros(0, dtype=np.int64)]
    for distance in range(1, window + 1):
        one, other = items[:-distance].astype(np.int64), items[distance:].astype(np.int64)
        is_pair = (users[:-distance] == users[distance:]) & (one != other)
        one, other = one[is_pair], other[is_pair]
        pairs += [one << 32 | other, other << 32 | one]
    return np.concatenate(pairs)


def _most_often(pairs: pl.DataFrame, neighbours: int) -> pl.DataFrame:
    """The neighbours of some items, of all their counted pairs."""
    pairs = pairs.sort("pair")
    pair = pairs["pair"].to_numpy()
    starts, _ = runs(pair)
    pair, count = pair[starts], np.add.reduceat(pairs["count"].to_numpy(), starts, dtype=np.int64)
    often_first = np.argsort((pair >> 32 << 32) - count, kind="stable")  # among equals the lower neighbour stays first
    item = pair >> 32
    firsts, ends = runs(item)
    kept = np.arange(len(pair)) - np.repeat(firsts, ends - firsts) < neighbours
    chosen = often_first[kept]
    columns = {"item_index": item[chosen], "neighbour_index": pair[chosen] & 0xFFFFFFFF, "count": count[chosen]}
    return pl.DataFrame(columns).select(pl.col(name).cast(kind) for name, kind in ITEM_ITEM.items())


def consumed(sequences: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The table USER_ITEM, piece by piece: distinct (user, item) of the train part, sorted.

    Args:
        sequences: of step `split`, sorted by user, whole users at a time.
    """
    for some in sequences:
        yield some.filter(pl.col("part") == "train").select(list(USER_ITEM)).unique().sort(list(USER_ITEM))
