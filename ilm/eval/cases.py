"""Held-out cases from examples.parquet and sequences.parquet: who is asked, what is held out, what was known before."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilm.errors import DataError
from ilm.eval.protocol import Cases

if TYPE_CHECKING:
    import polars as pl

_LATER = {"valid": ["valid", "test"], "test": ["test"]}
"""Part -> what is not known when its first item is asked for."""


def held_out_cases(
    examples: "pl.DataFrame", sequences: "pl.DataFrame | pl.LazyFrame", task: str, part: str = "test"
) -> Cases:
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
    theirs = sequences.lazy().join(users.to_frame().lazy(), on="user_index", how="semi").collect(engine="streaming")
    first = theirs.filter(pl.col("part") == part).group_by("user_index").agg(pl.col("position").min())
    mine = theirs.join(first, on="user_index", suffix="_first").sort("user_index", "position")
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
    sequences: "pl.DataFrame | pl.LazyFrame", active: NDArray[np.bool_], strategy: str, part: str = "test"
) -> NDArray[np.bool_]:
    """What may be recommended to the cases of a part: [n_items].

    With `leave_one_out` all active items; with `global_time` of these only the ones that somebody had met before the
    part began, since nobody could know the others: where such an item is the target, it is missed.

    Raises:
        DataError: an item of the sequences (with `global_time`, before the part) is not active.
    """
    import polars as pl

    by_time = strategy == "global_time"
    known = ~pl.col("part").is_in(_LATER[part]) if by_time else pl.lit(True)
    items = sequences.lazy().filter(known).select("item_index").unique().collect(engine="streaming")
    met = items["item_index"].sort().to_numpy()
    wrong = met[(met >= len(active)) | ~active[np.minimum(met, len(active) - 1)]]
    if wrong.size:
        raise DataError(
            f"sequences.parquet: {wrong.size} items are not active in catalogue.parquet (first: item_index {wrong[0]})."
            " The two come from different runs: run `dvc repro split`."
        )
    return np.isin(np.arange(len(active)), met) if by_time else active


def sizes(
    sequences: "pl.DataFrame | pl.LazyFrame", active: NDArray[np.bool_], strategy: str, part: str = "test"
) -> dict[str, Any]:
    """How much there is, and who is asked in a part: section `data` of metrics.json.

    Returns:
        {"users", "items" (active ones), "interactions", "split"; "cases": users with a target in the part, one each;
        of these "users_without_train", who have a history but no interaction in the train part; and beside them
        "users_without_history", who were first met in the part, so that there is nothing to ask with}. With
        `leave_one_out` everybody is a case, and the last two are 0.
    """
    import polars as pl

    by_user = (
        sequences.lazy()
        .group_by("user_index")
        .agg(
            rows=pl.len(),
            train=(pl.col("part") == "train").sum(),
            before=(~pl.col("part").is_in(_LATER[part])).sum(),
            held_out=(pl.col("part") == part).sum(),
        )
    )
    counts = by_user.collect(engine="streaming")
    asked = counts.filter(pl.col("held_out") > 0)
    cases = asked.filter(pl.col("before") > 0)
    return {
        "users": counts.height,
        "items": int(active.sum()),
        "interactions": int(counts["rows"].sum()),
        "split": strategy,
        "cases": cases.height,
        "users_without_train": cases.filter(pl.col("train") == 0).height,
        "users_without_history": asked.height - cases.height,
    }


def train_counts(sequences: "pl.DataFrame | pl.LazyFrame", items: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Interactions of the train part per item [items] and per user [n_users]."""
    import polars as pl

    rows = sequences.lazy()
    users = rows.select(pl.col("user_index").max() + 1).collect(engine="streaming").item()
    counts = []
    for name, length in (("item_index", items), ("user_index", users)):
        found = rows.filter(pl.col("part") == "train").group_by(name).len().collect(engine="streaming")
        counts.append(np.zeros(length, dtype=np.int64))
        counts[-1][found[name].to_numpy()] = found["len"].to_numpy()
    return counts[0], counts[1]


def _lists(owners: NDArray[np.int32], items: NDArray[np.int32], users: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """The items of each of `users`; `owners` is sorted."""
    starts, ends = np.searchsorted(owners, users, "left"), np.searchsorted(owners, users, "right")
    return [items[start:end].astype(np.int32) for start, end in zip(starts, ends, strict=True)]
