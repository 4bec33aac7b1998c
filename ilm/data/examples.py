"""Sequences -> recommendation examples: what a user had, and what came next. Indexes only; prompts are made later."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from ilm.data.buckets import runs
from ilm.data.schema import EXAMPLES, reading, scan_table
from ilm.data.stable_hash import combine
from ilm.params import PairsParams

Integers = NDArray[np.int64]


def held_out_examples(path: Path, part: str = "test", most: int = 0, seed: int = 0) -> pl.DataFrame:
    """The rows of EXAMPLES of one held-out part: of all its users, or of `most` of them, drawn by lot.

    Raises:
        ArtifactError: as `read_table`.
    """
    table = scan_table(path, EXAMPLES).filter(pl.col("split") == part)
    with reading(path):
        if most:
            users = table.select("user_index").unique().sort("user_index").collect(engine="streaming")
            lot = combine(np.full(len(users), seed, dtype=np.uint64), users["user_index"].to_numpy().astype(np.uint64))
            drawn = users[np.sort(np.argsort(lot, kind="stable")[:most])]
            table = table.join(drawn.lazy(), on="user_index", how="semi", maintain_order="left")
        return table.collect(engine="streaming")


@dataclass(frozen=True)
class _Histories:
    """Sequences, end to end. Row r of a user who starts at row s stands at position r - s."""

    items: NDArray[np.int32]
    """[rows]"""
    users: NDArray[np.int32]
    """[n_users], ascending"""
    starts: Integers
    """[n_users]: first row"""
    train: Integers
    """[n_users]: rows of the train part, which come first"""
    valid: Integers
    """[n_users]: rows of the valid part, which come next"""
    ends: Integers
    """[n_users]: row after the last"""


def examples(sequences: Iterable[pl.DataFrame], params: PairsParams) -> Iterator[pl.DataFrame]:
    """The table EXAMPLES, piece by piece: by task, then train, valid, test, then user and position.

    * train, sequential: each user's train part from its end in strides of `max_history`, down to position 1. The
      training loop supervises every position within such a window, so that each is seen once.
    * train, straightforward: `straightforward_per_user` positions from 1 on, drawn without replacement; the draw of a
      user does not depend on other users.
    * valid and test, either task: the first item of that part, given everything before it. Users with nothing before
      it have none.

    Args:
        sequences: of step `split`, sorted by user and position, whole users at a time; gone through again for every
            task and part.
        params: section `pairs`.
    """
    for task, positions in (("sequential", _windows), ("straightforward", _draws)):
        for split in ("train", "valid", "test"):
            for some in sequences:
                histories = _histories(some)
                chosen = positions(histories, params) if split == "train" else _first_of(histories, split)
                yield _rows(histories, task, split, *chosen, params.max_profile)


def _histories(sequences: pl.DataFrame) -> _Histories:
    users = sequences["user_index"].to_numpy()
    starts, ends = runs(users)
    train, valid = (np.add.reduceat((sequences["part"] == part).to_numpy(), starts, dtype=np.int64)
                    for part in ("train", "valid"))  # fmt: skip
    return _Histories(sequences["item_index"].to_numpy(), users[starts], starts, train, valid, ends)


def _windows(histories: _Histories, params: PairsParams) -> tuple[Integers, Integers]:
    """(user number, target position) of the windows n-1, n-1-max_history, … >= 1 of train parts with n items."""
    stride = params.max_history
    per_user = np.maximum(histories.train - 1 + stride - 1, 0) // stride
    user = np.repeat(np.arange(len(per_user)), per_user)
    number = _within(per_user)  # 0 is the most recent window
    return _sorted(user, histories.train[user] - 1 - number * stride)


def _draws(histories: _Histories, params: PairsParams) -> tuple[Integers, Integers]:
    """(user number, target position): per user some positions >= 1 of the train part, those with the lowest hashes."""
    candidates = np.maximum(histories.train - 1, 0)
    user = np.repeat(np.arange(len(candidates)), candidates)
    position = _within(candidates) + 1
    seeds = np.full(len(user), params.seed, dtype=np.uint64)
    lot = combine(seeds, histories.users[user].astype(np.uint64), position.astype(np.uint64))
    order = np.lexsort((position, lot, user))
    kept = order[
        _within(candidates) < params.straightforward_per_user
    ]  # candidates per user are unchanged by sorting within users
    return _sorted(user[kept], position[kept])


def _first_of(histories: _Histories, split: str) -> tuple[Integers, Integers]:
    """(user number, position) of the first item of a held-out part."""
    first = histories.train if split == "valid" else histories.train + histories.valid
    end = histories.train + histories.valid if split == "valid" else histories.ends - histories.starts
    user = np.flatnonzero((first > 0) & (first < end))
    return user, first[user]


def _rows(
    histories: _Histories, task: str, split: str, user: Integers, position: Integers, max_profile: int
) -> pl.DataFrame:
    """Examples with the items before `position` as history, at most `max_profile` of them."""
    target = histories.starts[user] + position
    lengths = np.minimum(position, max_profile)
    values = histories.items[np.repeat(target - lengths, lengths) + _within(lengths)]
    history = pa.LargeListArray.from_arrays(np.concatenate([[0], np.cumsum(lengths)]), values)
    return pl.DataFrame(
        {
            "task": pl.repeat(task, len(user), eager=True, dtype=pl.String),
            "split": pl.repeat(split, len(user), eager=True, dtype=pl.String),
            "user_index": histories.users[user],
            "history": pl.Series(history),
            "target": histories.items[target],
        },
        schema=EXAMPLES,
    )


def _within(counts: Integers) -> Integers:
    """0, 1, …, counts[0]-1, 0, 1, …, counts[1]-1, … ."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _sorted(user: Integers, position: Integers) -> tuple[Integers, Integers]:
    order = np.lexsort((position, user))
    return user[order], position[order]
