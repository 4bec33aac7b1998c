"""The rank of a held-out item among the whole catalogue, with the user's known items removed and with them kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ilm.errors import ArtifactError, DataError
from ilm.eval.metrics import MISSED

TOP = 10
"""Length of the recommendation lists that are kept for coverage and popularity."""
_UNLISTED = np.iinfo(np.int64).min
"""Stands in `_order` for an item that may not be recommended."""


class Recommender(Protocol):
    """Anything that scores every item of the catalogue for a batch of histories."""

    def score(self, task: str, histories: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Scores [batch, n_items]; higher is better. Histories are item indexes, oldest first."""


@dataclass(frozen=True)
class Cases:
    """One held-out target per user."""

    user_index: NDArray[np.int32]
    """[n]."""
    targets: NDArray[np.int32]
    """[n] item_index."""
    histories: Sequence[NDArray[np.int32]]
    """What the recommender is shown, oldest first."""
    seen: Sequence[NDArray[np.int32]]
    """All items of the user before the target: removed from the filtered ranking."""


@dataclass(frozen=True)
class Ranking:
    """Where the targets came out, a row per case. Ranks start at 1; equal scores are ordered by the smaller item_index.

    A target that is not among the candidates counts as a miss, and its case is not left out: its rank is `MISSED`.
    """

    filtered: NDArray[np.int32]
    """[n], among candidates that the user has not seen (a target that was seen before still competes)."""
    unfiltered: NDArray[np.int32]
    """[n], among all candidates."""
    top: NDArray[np.int32]
    """[n, TOP] items of the filtered list that a user would get (target not favoured), best first, -1 = list ends."""


def target_ranks(
    recommender: Recommender, task: str, cases: Cases, candidates: NDArray[np.bool_], batch_size: int, name: str = ""
) -> Ranking:
    """Score all cases, one `score` call per batch, and rank each target over the full catalogue.

    Memory holds one batch of scores [batch_size, n_items] at a time.

    Args:
        recommender: the system to judge.
        task: passed on to it.
        cases: n users with their targets.
        candidates: [n_items] what may be recommended (`ilm.eval.cases.candidate_items`).
        batch_size: users per call.
        name: shown beside the progress bar.

    Raises:
        DataError: no cases, no candidates, or a target or seen item is not in the catalogue.
        ArtifactError: the scores have the wrong shape, or a candidate's is NaN or infinite.
    """
    from tqdm import tqdm

    _require_rankable(cases, candidates)
    count, others = len(cases.targets), np.flatnonzero(~candidates)
    ranking = Ranking(np.zeros(count, np.int32), np.zeros(count, np.int32), np.full((count, TOP), -1, np.int32))
    for start in tqdm(range(0, count, batch_size), desc=f"{name} {task}", unit="batch", disable=None):
        rows = slice(start, min(start + batch_size, count))
        targets, seen = cases.targets[rows], cases.seen[rows]
        places, known = np.arange(len(targets)), candidates[targets]
        order = _order(_checked(recommender.score(task, cases.histories[rows]), len(targets), candidates, name))
        order[:, others] = _UNLISTED
        of_target = order[places, targets][:, None]
        ranking.unfiltered[rows] = np.where(known, 1 + np.count_nonzero(order > of_target, axis=1), MISSED)
        order[np.repeat(places, [len(items) for items in seen]), np.concatenate(seen)] = _UNLISTED
        ranking.filtered[rows] = np.where(known, 1 + np.count_nonzero(order > of_target, axis=1), MISSED)
        ranking.top[rows] = _top(order)
    return ranking


def _order(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """One integer per score, all of a row distinct: the larger, the earlier in the ranking.

    The upper half has the order of the scores (the bits of a positive float are ordered as integers, those of a
    negative one the other way round), the lower half counts the items down. So ties need no second look.
    """
    bits = np.add(scores, 0.0, dtype=np.float32, order="C").view(np.int32)  # -0.0 + 0.0 is 0.0: they are equal
    bits ^= (bits >> 31) & 0x7FFFFFFF
    order = bits.astype(np.int64)
    order <<= 32
    order |= np.arange(order.shape[1] - 1, -1, -1)
    return order


def _top(order: NDArray[np.int64]) -> NDArray[np.int32]:
    """The first TOP items of each row of `_order` [batch, n_items]; -1 where no more may be listed."""
    length = min(TOP, order.shape[1])
    best = np.sort(np.partition(order, -length, axis=1)[:, -length:], axis=1)[:, ::-1]
    listed = np.full((len(order), TOP), -1, np.int32)
    listed[:, :length] = np.where(best > _UNLISTED, order.shape[1] - 1 - (best & 0xFFFFFFFF), -1)
    return listed


def _checked(scores: NDArray[np.float32], batch: int, candidates: NDArray[np.bool_], name: str) -> NDArray[np.float32]:
    if scores.shape != (batch, len(candidates)):
        raise ArtifactError(
            f"{name or 'recommender'}: scores are {scores.shape} for {batch} users and {len(candidates)} items. "
            "The model and the catalogue come from different runs: run `dvc repro`."
        )
    if not (np.isfinite(scores) | ~candidates).all():
        raise ArtifactError(
            f"{name or 'recommender'}: a score is NaN or infinite. Training diverged or the model file is damaged: "
            "lower the learning rate and train again, or restore the file."
        )
    return scores


def _require_rankable(cases: Cases, candidates: NDArray[np.bool_]) -> None:
    lengths = {len(cases.user_index), len(cases.targets), len(cases.histories), len(cases.seen)}
    if lengths == {0} or len(lengths) > 1:
        raise DataError(f"evaluate: cases have lengths {sorted(lengths)}. Every user needs one target and history.")
    if not candidates.any():
        raise DataError("evaluate: no item may be recommended. Check catalogue.parquet, column `active`.")
    for what, items in (("target", cases.targets), ("seen item", np.concatenate(cases.seen))):
        outside = items[(items < 0) | (items >= len(candidates))]
        if outside.size:
            raise DataError(f"evaluate: {what} {outside[0]} is not in the catalogue of {len(candidates):,} items.")
