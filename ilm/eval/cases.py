"""Held-out cases from examples.parquet and sequences.parquet: who is asked, what is held out, what was known before."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ilm.errors import DataError
from ilm.eval.protocol import Cases

if TYPE_CHECKING:
    import polars as pl


def held_out_cases(examples: "pl.DataFrame", sequences: "pl.DataFrame", task: str, part: str = "test") -> Cases:
    """The cases of one task, by user_index: of the part "test", or of "valid".

    `histories` are those of the examples (at most pairs.max_profile recent items: what a model is shown); `seen` is
    everything the user did before the first item of the part.

    Raises:
        DataError: no case, a user with two, or a target that is not the user's first item of the part.
    """
    import polars as pl

    chosen = examples.filter((pl.col("task") == task) & (pl.col("split") == part)).sort("user_index")
    users = chosen["user_index"]
    if chosen.is_empty():
        raise DataError(
            f"examples.parquet: no {part} example of task {task!r}. The split left no {part} part: lower "
            "split.min_user_interactions, or give more data."
        )
    if users.n_unique() < len(users):
        raise DataError(f"examples.parquet: a user has two {part} examples of task {task!r}. Run `dvc repro pairs`.")
    first = sequences.filter(pl.col("part") == part).group_by("user_index").agg(pl.col("position").min())
    mine = (
        sequences.join(first, on="user_index", suffix="_first")
        .filter(pl.col("user_index").is_in(users.implode()))
        .sort("user_index", "position")
    )
    held_out = mine.filter(pl.col("position") == pl.col("position_first"))
    if (
        held_out["user_index"].to_list() != users.to_list()
        or held_out["item_index"].to_list() != chosen["target"].to_list()
    ):
        raise DataError(
            f"examples.parquet: the {part} targets of task {task!r} are not the users' first {part} items in "
            "sequences.parquet. The two come from different runs: run `dvc repro pairs`."
        )
    before = mine.filter(pl.col("position") < pl.col("position_first"))
    seen = _lists(before["user_index"].to_numpy(), before["item_index"].to_numpy(), users.to_numpy())
    return Cases(
        user_index=users.to_numpy().astype(np.int32),
        targets=chosen["target"].to_numpy().astype(np.int32),
        histories=[np.asarray(history, dtype=np.int32) for history in chosen["history"]],
        seen=seen,
    )


def candidate_items(
    sequences: "pl.DataFrame", active: NDArray[np.bool_], strategy: str, part: str = "test"
) -> NDArray[np.bool_]:
    """What may be recommended to the cases of a part: [n_items].

    With `leave_one_out` all active items; with `global_time` of these only the ones that somebody had met before the
    part began, since nobody could know the others: where such an item is the target, it is missed.

    Raises:
        DataError: an item of the sequences is not active.
    """
    import polars as pl

    used = sequences["item_index"].unique().sort().to_numpy()
    wrong = used[(used >= len(active)) | ~active[np.minimum(used, len(active) - 1)]]
    if wrong.size:
        raise DataError(
            f"sequences.parquet: {wrong.size} items are not active in catalogue.parquet (first: item_index {wrong[0]})."
            " The two come from different runs: run `dvc repro split`."
        )
    if strategy != "global_time":
        return active
    later = {"valid": ["valid", "test"], "test": ["test"]}[part]
    known = np.zeros(len(active), dtype=np.bool_)
    known[sequences.filter(~pl.col("part").is_in(later))["item_index"].to_numpy()] = True
    return known


def _lists(owners: NDArray[np.int32], items: NDArray[np.int32], users: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """The items of each of `users`; `owners` is sorted."""
    starts, ends = np.searchsorted(owners, users, "left"), np.searchsorted(owners, users, "right")
    return [items[start:end].astype(np.int32) for start, end in zip(starts, ends, strict=True)]
