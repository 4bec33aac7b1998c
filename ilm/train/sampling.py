"""Which rows a stage-1 step learns from, and which are held out from all steps."""

import numpy as np
from numpy.typing import NDArray

from ilm.train.loop import epoch_batch

HELD_OUT_BATCHES = 4
"""Batches that a held-out loss is the mean of."""


class ItemTextSampler:
    """Batches of text rows, one text per item: items are shuffled anew in each epoch, and an item with several texts
    shows them in turn from epoch to epoch. A fixed share of the items is held out."""

    def __init__(self, text_items: NDArray[np.int32], held_out_fraction: float, seed: int) -> None:
        self.seed = seed
        self.items, first, counts = np.unique(text_items, return_index=True, return_counts=True)
        if not (np.diff(text_items) >= 0).all():
            raise ValueError("item texts must be sorted by item")
        self.first, self.counts = first, counts
        self.training, self.held_out = _parted(len(self.items), held_out_fraction, seed)

    def batch(self, batch_size: int, step: int) -> NDArray[np.int64]:
        """Text rows [batch_size] of training batch `step`."""
        size = min(batch_size, len(self.training))
        items = self.training[epoch_batch(len(self.training), size, step, self.seed)]
        epoch = np.arange(step * size, (step + 1) * size) // len(self.training)
        rows: NDArray[np.int64] = self.first[items] + (items + epoch) % self.counts[items]
        return rows

    def held_out_rows(self) -> NDArray[np.int64]:
        """The last (fullest) text of each held-out item."""
        rows: NDArray[np.int64] = self.first[self.held_out] + self.counts[self.held_out] - 1
        return rows

    def held_out_batches(self, batch_size: int) -> list[NDArray[np.int64]]:
        """Batches of `held_out_rows`, the same ones each time; none below two items, which contrast needs."""
        rows = self.held_out_rows()
        return _equal_batches(rows, batch_size) if len(rows) > 1 else []


class PairSampler:
    """Batches of co-consumption pairs [p, 2], shuffled anew in each epoch. A fixed share of the pairs is held out;
    with `symmetric`, (a, b) and (b, a) together."""

    def __init__(self, pairs: NDArray[np.int32], symmetric: bool, held_out_fraction: float, seed: int) -> None:
        self.seed = seed + 1
        named = np.sort(pairs, axis=1) if symmetric else pairs
        distinct, name = np.unique(named, axis=0, return_inverse=True)
        _, held_out = _parted(len(distinct), held_out_fraction, self.seed)
        is_held_out = np.isin(name.ravel(), held_out)
        self.training = pairs[~is_held_out]
        self.held_out = np.random.default_rng([self.seed, 0]).permutation(pairs[is_held_out])

    def batch(self, batch_size: int, turn: int) -> NDArray[np.int32]:
        """Pairs [batch_size, 2] of training batch `turn`."""
        return self.training[epoch_batch(len(self.training), batch_size, turn, self.seed)]

    def held_out_batches(self, batch_size: int) -> list[NDArray[np.int32]]:
        """Batches of held-out pairs, the same ones each time; none below two pairs."""
        return _equal_batches(self.held_out, batch_size) if len(self.held_out) > 1 else []


def _parted(count: int, held_out_fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indexes below `count`, parted into those to train on and those held out, both sorted."""
    order = np.random.default_rng([seed, 0]).permutation(count)
    held_out = int(count * held_out_fraction)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def _equal_batches(rows: NDArray, batch_size: int) -> list[NDArray]:  # type: ignore[type-arg]
    """At most `HELD_OUT_BATCHES` batches of one size, since contrast depends on it: `batch_size`, or all there is."""
    size = min(batch_size, len(rows))
    return [rows[start : start + size] for start in range(0, len(rows) - size + 1, size)][:HELD_OUT_BATCHES]
