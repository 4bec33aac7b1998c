"""From rankings to the table of per-user scores and the numbers of metrics.json: headline, significance, slices.

The numbers nest as system -> task -> setting -> metric, or as the docstrings below say; plain dicts, ready for JSON.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilm.eval.metrics import METRICS, means, per_user
from ilm.eval.protocol import Cases, Ranking
from ilm.eval.significance import mean_intervals, paired_tests

if TYPE_CHECKING:
    import polars as pl

SETTINGS = ("filtered", "unfiltered")
HEAD_SHARE = 0.2
"""Share of the active items, most popular first, that counts as the head of the catalogue."""

Rankings = Mapping[str, Mapping[str, Ranking]]
"""system -> task -> ranking, all systems on the same cases of a task."""


def score_table(rankings: Rankings, cases: Mapping[str, Cases]) -> "pl.DataFrame":
    """Columns system, task, user_index, target, rank_filtered, rank_unfiltered; sorted by the first three."""
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
    """How sure the headline is.

    Returns:
        {"samples", "intervals": system -> task -> setting -> metric -> {low, high},
        "paired": "<subject>_minus_<baseline>" -> task -> setting -> metric -> {difference, low, high, p_value}}.
    """
    intervals: dict[str, Any] = {}
    for system, tasks in rankings.items():
        for task, ranking in tasks.items():
            bounds = mean_intervals(_values(ranking), samples=samples, seed=seed)
            cells = [{"low": bound.low, "high": bound.high} for bound in bounds]
            intervals.setdefault(system, {})[task] = _by_setting(cells)
    paired: dict[str, Any] = {}
    for system in rankings:
        for task, ranking in rankings[subject].items():
            if system != subject:
                tests = paired_tests(_values(ranking), _values(rankings[system][task]), samples=samples, seed=seed)
                cells = [dict(vars(test)) for test in tests]
                paired.setdefault(f"{subject}_minus_{system}", {})[task] = _by_setting(cells)
    return {"samples": samples, "intervals": intervals, "paired": paired}


def slices(
    rankings: Rankings, cases: Mapping[str, Cases], train_counts: NDArray[np.int64], active: NDArray[np.bool_]
) -> dict[str, Any]:
    """Who is served well, and what is recommended, in the filtered setting.

    Args:
        rankings: of all systems.
        cases: task -> its cases.
        train_counts: [n_items] interactions of the train part.
        active: [n_items].

    Returns:
        {"head_items", "median_history", "target_popularity": task -> head | tail -> {users, systems: system -> metric},
        "history_length": the same with short | long, "recommendations": task -> system -> {coverage_at_10,
        mean_popularity_at_10}}. A slice without users has no systems.
    """
    head = head_items(train_counts, active)
    lengths = {task: np.array([len(seen) for seen in case.seen]) for task, case in cases.items()}
    median = float(np.median(np.concatenate(list(lengths.values()))))
    result: dict[str, Any] = {
        "head_items": int(head.sum()),
        "median_history": median,
        "target_popularity": {},
        "history_length": {},
        "recommendations": {},
    }
    for task, case in cases.items():
        mine = {system: tasks[task] for system, tasks in rankings.items()}
        in_head, is_short = head[case.targets], lengths[task] <= median
        result["target_popularity"][task] = {"head": _slice(mine, in_head), "tail": _slice(mine, ~in_head)}
        result["history_length"][task] = {"short": _slice(mine, is_short), "long": _slice(mine, ~is_short)}
        result["recommendations"][task] = {
            system: {
                "coverage_at_10": len(np.unique(ranking.top[ranking.top >= 0])) / int(active.sum()),
                "mean_popularity_at_10": float(train_counts[ranking.top[ranking.top >= 0]].mean()),
            }
            for system, ranking in mine.items()
        }
    return result


def head_items(train_counts: NDArray[np.int64], active: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[n_items]: the HEAD_SHARE of active items with most train interactions, equal counts by smaller index."""
    order = np.argsort(-np.where(active, train_counts, -1), kind="stable")
    head = np.zeros(len(active), dtype=np.bool_)
    head[order[: int(np.ceil(HEAD_SHARE * active.sum()))]] = True
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
