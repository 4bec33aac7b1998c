"""From rankings to the table of per-user scores and the numbers of metrics.json: headline, significance, slices.

The numbers nest as system -> task -> setting -> metric, or as the docstrings below say; plain dicts, ready for JSON.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilm.eval.metrics import METRICS, means, per_user
from ilm.eval.protocol import Cases, Ranking
from ilm.eval.significance import compare

if TYPE_CHECKING:
    import polars as pl

SETTINGS = ("filtered", "unfiltered")
HEAD_SHARE = 0.2
"""Share of the candidates, most popular first, that counts as the head of the catalogue."""
COLD_SHARE = 0.25
"""Share of the users with train interactions, least active first, that counts as cold."""

Rankings = Mapping[str, Mapping[str, Ranking]]
"""system -> task -> ranking, all systems on the same cases of a task."""

Runs = Mapping[str, Sequence[Mapping[str, Ranking]]]
"""system -> for each seed: task -> ranking."""


def score_table(rankings: Rankings, cases: Mapping[str, Cases]) -> "pl.DataFrame":
    """Columns system, task, user_index, target, rank_filtered, rank_unfiltered; sorted by the first three.

    The rank of a target that is not among the candidates is `MISSED`, the largest number that fits the column.
    """
    import polars as pl

    parts = [
        pl.DataFrame(
            {
                "user_index": cases[task].user_index,
                "target": cases[task].targets,
                "rank_filtered": ranking.filtered,
                "rank_unfiltered": ranking.unfiltered,
            }
        ).select(pl.lit(system).alias("system"), pl.lit(task).alias("task"), pl.all())
        for system, tasks in rankings.items()
        for task, ranking in tasks.items()
    ]
    return pl.concat(parts).sort("system", "task", "user_index")


def headline(rankings: Rankings) -> dict[str, Any]:
    """system -> task -> setting -> metric -> mean over users."""
    return {
        system: {
            task: {setting: means(getattr(ranking, setting)) for setting in SETTINGS} for task, ranking in tasks.items()
        }
        for system, tasks in rankings.items()
    }


def significance(rankings: Rankings, subject: str, *, samples: int, seed: int) -> dict[str, Any]:
    """How sure the headline is: `significance_over_seeds` of systems that were trained once."""
    runs = {system: [tasks] for system, tasks in rankings.items()}
    return significance_over_seeds(runs, subject, samples=samples, seed=seed)


def significance_over_seeds(runs: Runs, subject: str, *, samples: int, seed: int) -> dict[str, Any]:
    """How sure we are of each system's mean, and of the subject's differences to the others.

    Tasks are the subject's; a system that does not do one of them is left out there. Holm's correction is for the
    number of other systems, per task, setting and metric (`ilm.eval.significance`).

    Returns:
        {"samples", "intervals": system -> task -> setting -> metric -> {mean, low, high, seed_deviation},
        "paired": "<subject>_minus_<baseline>" -> task -> setting -> metric -> {difference, low, high, p_value,
        p_holm}}. Means are over users and seeds; seed_deviation is null where a system has one seed.

    Raises:
        DataError: the systems have different users.
    """
    intervals: dict[str, Any] = {}
    paired: dict[str, Any] = {}
    for task in runs[subject][0]:
        doing = {system: seeds for system, seeds in runs.items() if task in seeds[0]}
        values = {system: np.stack([_values(tasks[task]) for tasks in seeds]) for system, seeds in doing.items()}
        found = compare(values, subject, samples=samples, seed=seed)
        for system, estimates in found.estimates.items():
            intervals.setdefault(system, {})[task] = _by_setting([dict(vars(cell)) for cell in estimates])
        for system, tests in found.paired.items():
            cells = [dict(vars(test)) for test in tests]
            paired.setdefault(f"{subject}_minus_{system}", {})[task] = _by_setting(cells)
    return {"samples": samples, "intervals": intervals, "paired": paired}


def slices(
    rankings: Rankings,
    cases: Mapping[str, Cases],
    train_rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    candidates: NDArray[np.bool_],
) -> dict[str, Any]:
    """Who is served well, and what is recommended, in the filtered setting.

    Args:
        rankings: of all systems.
        cases: task -> its cases.
        train_rows: of `ilm.eval.cases.train_counts`.
        candidates: [n_items], as in `target_ranks`.

    Returns:
        {"head_items", "median_history", "cold_interactions", "missed_targets": task -> cases whose target is not among
        the candidates (a miss for every system, none is dropped), "target_popularity": task -> head | tail -> {users,
        systems: system -> metric}, "history_length": the same with short | long, "user_activity": the same with cold |
        warm, and with new (no train interaction at all) where there are such users, "recommendations": task -> system
        -> {coverage_at_10, mean_popularity_at_10}}. A slice without users has no systems.
    """
    item_counts, user_counts = train_rows
    head = head_items(item_counts, candidates)
    lengths = {task: np.array([len(seen) for seen in case.seen]) for task, case in cases.items()}
    median = float(np.median(np.concatenate(list(lengths.values()))))
    active = np.concatenate([user_counts[case.user_index] for case in cases.values()])
    cold = float(np.quantile(active[active > 0], COLD_SHARE)) if active.any() else 0.0
    result: dict[str, Any] = {
        "head_items": int(head.sum()),
        "median_history": median,
        "cold_interactions": cold,
        "missed_targets": {task: int((~candidates[case.targets]).sum()) for task, case in cases.items()},
        "target_popularity": {},
        "history_length": {},
        "user_activity": {},
        "recommendations": {},
    }
    for task, case in cases.items():
        mine = {system: tasks[task] for system, tasks in rankings.items()}
        in_head, is_short, counts = head[case.targets], lengths[task] <= median, user_counts[case.user_index]
        result["target_popularity"][task] = {"head": _slice(mine, in_head), "tail": _slice(mine, ~in_head)}
        result["history_length"][task] = {"short": _slice(mine, is_short), "long": _slice(mine, ~is_short)}
        activity = {"new": counts == 0, "cold": (counts > 0) & (counts <= cold), "warm": counts > cold}
        result["user_activity"][task] = {
            name: _slice(mine, chosen) for name, chosen in activity.items() if name != "new" or chosen.any()
        }
        result["recommendations"][task] = {
            system: {
                "coverage_at_10": len(np.unique(ranking.top[ranking.top >= 0])) / int(candidates.sum()),
                "mean_popularity_at_10": float(item_counts[ranking.top[ranking.top >= 0]].mean()),
            }
            for system, ranking in mine.items()
        }
    return result


def head_items(train_counts: NDArray[np.int64], candidates: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[n_items]: the HEAD_SHARE of candidates with most train interactions, equal counts by smaller index."""
    order = np.argsort(-np.where(candidates, train_counts, -1), kind="stable")
    head = np.zeros(len(candidates), dtype=np.bool_)
    head[order[: int(np.ceil(HEAD_SHARE * candidates.sum()))]] = True
    return head


def _slice(rankings: Mapping[str, Ranking], chosen: NDArray[np.bool_]) -> dict[str, Any]:
    systems = {system: means(ranking.filtered[chosen]) for system, ranking in rankings.items()} if chosen.any() else {}
    return {"users": int(chosen.sum()), "systems": systems}


def _values(ranking: Ranking) -> NDArray[np.float64]:
    """Per-user values [n, settings * metrics], setting by setting."""
    columns = [values for setting in SETTINGS for values in per_user(getattr(ranking, setting)).values()]
    return np.stack(columns, axis=1)


def _by_setting(cells: list[dict[str, float]]) -> dict[str, dict[str, dict[str, float]]]:
    """Undo the column order of `_values`."""
    names = [(setting, metric) for setting in SETTINGS for metric in METRICS]
    nested: dict[str, dict[str, dict[str, float]]] = {setting: {} for setting in SETTINGS}
    for (setting, metric), cell in zip(names, cells, strict=True):
        nested[setting][metric] = cell
    return nested
