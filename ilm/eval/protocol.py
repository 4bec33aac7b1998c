"""The rank of a held-out item among the whole catalogue, with the user's known items removed and with them kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ilm.errors import ArtifactError, DataError

TOP = 10
"""Length of the recommendation lists that are kept for coverage and popularity."""


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
    """Where the targets came out. Ranks start at 1; equal scores are ordered by the smaller item_index."""

    filtered: NDArray[np.int32]
    """[n], among active items that the user has not seen (a target that was seen before still competes)."""
    unfiltered: NDArray[np.int32]
    """[n], among all active items."""
    top: NDArray[np.int32]
    """[n, TOP] items of the filtered list that a user would get (target not favoured), best first, -1 = list ends."""


def target_ranks(
    recommender: Recommender, task: str, cases: Cases, active: NDArray[np.bool_], batch_size: int, name: str = ""
) -> Ranking:
    """Score all cases, one `score` call per batch, and rank each target over the full catalogue.

    Memory holds one batch of scores [batch_size, n_items] at a time.

    Args:
        recommender: the system to judge.
        task: passed on to it.
        cases: n users with their targets.
        active: [n_items]; inactive items are never ranked.
        batch_size: users per call.
        name: shown beside the progress bar.

    Raises:
        DataError: no cases, or a target or seen item is inactive or not in the catalogue.
        ArtifactError: the scores have the wrong shape or hold NaN or infinity.
    """
    from tqdm import tqdm

    _require_rankable(cases, active)
    count = len(cases.targets)
    ranking = Ranking(np.empty(count, np.int32), np.empty(count, np.int32), np.full((count, TOP), -1, np.int32))
    for start in tqdm(range(0, count, batch_size), desc=f"{name} {task}", unit="batch", disable=None):
        rows = slice(start, min(start + batch_size, count))
        targets, seen = cases.targets[rows], cases.seen[rows]
        scores = _checked_scores(recommender.score(task, cases.histories[rows]), len(targets), active, name)
        scores[:, ~active] = -np.inf
        target_scores = scores[np.arange(len(targets)), targets]
        ranking.unfiltered[rows] = _ranks(scores, targets, target_scores)
        scores[np.repeat(np.arange(len(seen)), [len(items) for items in seen]), np.concatenate(seen)] = -np.inf
        ranking.top[rows] = top_items(scores, TOP)
        scores[np.arange(len(targets)), targets] = target_scores
        ranking.filtered[rows] = _ranks(scores, targets, target_scores)
    return ranking


def top_items(scores: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    """The k best items per row [batch, k], equal scores by smaller index; -inf is never listed, -1 fills the rest."""
    listed = np.full((len(scores), k), -1, np.int32)
    k = min(k, scores.shape[1])
    thresholds = np.partition(scores, -k, axis=1)[:, -k]  # the k-th best, so that only ties with it need a sort
    for row, threshold in enumerate(thresholds):
        candidates = np.flatnonzero((scores[row] >= threshold) & (scores[row] > -np.inf))
        best = candidates[np.argsort(-scores[row, candidates], kind="stable")[:k]]
        listed[row, : len(best)] = best
    return listed


def _ranks(
    scores: NDArray[np.float32], targets: NDArray[np.int32], target_scores: NDArray[np.float32]
) -> NDArray[np.int32]:
    """1 + items that score higher + equal items with a smaller index; what a stable descending sort gives."""
    higher = scores > target_scores[:, None]
    earlier = (scores == target_scores[:, None]) & (np.arange(scores.shape[1]) < targets[:, None])
    ranks: NDArray[np.int32] = (1 + (higher | earlier).sum(axis=1)).astype(np.int32)
    return ranks


def _checked_scores(
    scores: NDArray[np.float32], batch: int, active: NDArray[np.bool_], name: str
) -> NDArray[np.float32]:
    """A copy that may be written to."""
    if scores.shape != (batch, len(active)):
        raise ArtifactError(
            f"{name or 'recommender'}: scores are {scores.shape} for {batch} users and {len(active)} items. "
            "The model and the catalogue come from different runs: run `dvc repro`."
        )
    if not np.isfinite(scores[:, active]).all():
        raise ArtifactError(
            f"{name or 'recommender'}: a score is NaN or infinite. Training diverged or the model file is damaged: "
            "lower the learning rate and train again, or restore the file."
        )
    return scores.astype(np.float32, copy=True)


def _require_rankable(cases: Cases, active: NDArray[np.bool_]) -> None:
    lengths = {len(cases.user_index), len(cases.targets), len(cases.histories), len(cases.seen)}
    if lengths == {0} or len(lengths) > 1:
        raise DataError(f"evaluate: cases have lengths {sorted(lengths)}. Every user needs one target and history.")
    for what, items in (("target", cases.targets), ("seen item", np.concatenate(cases.seen))):
        outside = items[(items < 0) | (items >= len(active))]
        if outside.size:
            raise DataError(f"evaluate: {what} {outside[0]} is not in the catalogue of {len(active):,} items.")
    inactive = cases.targets[~active[cases.targets]]
    if inactive.size:
        raise DataError(
            f"evaluate: {inactive.size} targets are inactive items (first: item_index {inactive[0]}), which are never "
            "ranked. The examples and the catalogue come from different runs: run `dvc repro`."
        )
