"""From finished trials to the numbers of metrics.json, which has the form of the pipeline's own, and to a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ilm.bench.trial import Trial, ranks_table
from ilm.bench.trials import Trials
from ilm.data.schema import write_table
from ilm.eval.cases import train_counts
from ilm.eval.metrics import METRICS, means
from ilm.eval.summary import SETTINGS, significance_over_seeds, slices
from ilm.files import write_json, write_text


def summarise(trials: Trials, done: Sequence[Trial], not_run: Mapping[str, str]) -> dict[str, Any]:
    """The content of metrics.json.

    Beside what the step `evaluate` writes: `order` of the systems; `subject`, the first one, with which the others are
    compared in pairs; `per_seed` (system -> task -> setting -> metric -> a value per seed) and `seeds`; `not_run`
    (system -> why). Means and slices are over users and seeds, seconds in `cost` over seeds.

    Args:
        trials: what the systems were judged on.
        done: at least one, of a system all seeds.
        not_run: systems that cannot run on these data.
    """
    runs: dict[str, list[Trial]] = {}
    for trial in done:
        runs.setdefault(trial.system, []).append(trial)
    rankings = {system: [trial.rankings for trial in found] for system, found in runs.items()}
    settings = trials.settings["evaluate"]
    subject = done[0].system
    sure = significance_over_seeds(rankings, subject, samples=settings["bootstrap_samples"], seed=settings["seed"])
    rounds = max(len(found) for found in runs.values())
    counts = train_counts(trials.sequences, trials.catalogue.height)
    sliced = [
        slices(
            {system: found[turn % len(found)] for system, found in rankings.items()},
            trials.cases,
            counts,
            trials.candidates,
        )
        for turn in range(rounds)
    ]
    return {
        "data": trials.data,
        "part": trials.part,
        "subject": subject,
        "order": list(runs),
        "systems": _leaves(sure["intervals"], lambda cell: cell["mean"]),
        "seeds": {system: [trial.seed for trial in found] for system, found in runs.items()},
        "per_seed": {system: _per_seed(found) for system, found in runs.items()},
        "significance": sure,
        "slices": _mean(sliced),
        "cost": {system: _mean([dict(trial.seconds) for trial in found]) for system, found in runs.items()},
        "not_run": dict(not_run),
    }


def write_numbers(folder: Path, trials: Trials, done: Sequence[Trial], not_run: Mapping[str, str]) -> dict[str, Any]:
    """Write metrics.json, table.md, scores.parquet and trials.json into the folder; gives the content of the first."""
    metrics = summarise(trials, done, not_run)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "metrics.json", metrics)
    write_text(folder / "table.md", markdown(metrics))
    write_table(scores(trials, done), folder / "scores.parquet")
    write_json(folder / "trials.json", [{"system": t.system, "seed": t.seed, **t.record} for t in done])
    return metrics


def scores(trials: Trials, done: Sequence[Trial]) -> pl.DataFrame:
    """Per user: system, seed, task, user_index, target, rank_filtered, rank_unfiltered; sorted by the first four."""
    parts = [
        ranks_table(trial.rankings, trials.cases)
        .drop("top")
        .select(pl.lit(trial.system).alias("system"), pl.lit(trial.seed, dtype=pl.Int32).alias("seed"), pl.all())
        for trial in done
    ]
    return pl.concat(parts).sort("system", "seed", "task", "user_index")


def markdown(metrics: Mapping[str, Any], metric: str = "hr_at_10") -> str:
    """All systems, seen items removed: mean over seeds and its standard deviation, and the paired test of `metric`."""
    subject, lines = metrics["subject"], []
    for task in metrics["systems"][subject]:
        lines += [
            f"\n{task}, seen items removed\n",
            f"| system | seeds | {' | '.join(METRICS)} | {subject} - system, {metric} | p (Holm) |",
            "|---" * (len(METRICS) + 4) + "|",
        ]
        for system in metrics["order"]:
            estimates = metrics["significance"]["intervals"][system][task]["filtered"]
            cells = [_cell(estimates[name]) for name in METRICS]
            test = ["", ""]
            if system != subject:
                found = metrics["significance"]["paired"][f"{subject}_minus_{system}"][task]["filtered"][metric]
                p_holm = found["p_holm"]
                test = [f"{found['difference']:+.4f}", "< 0.001" if p_holm < 0.001 else f"{p_holm:.3f}"]
            lines.append(f"| {system} | {len(metrics['seeds'][system])} | {' | '.join(cells + test)} |")
    lines += [f"\nnot run: {system}, because {why}." for system, why in metrics["not_run"].items()]
    return "\n".join(lines).lstrip("\n") + "\n"


def _cell(estimate: Mapping[str, float | None]) -> str:
    deviation = estimate["seed_deviation"]
    return f"{estimate['mean']:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def _per_seed(found: Sequence[Trial]) -> dict[str, Any]:
    return {
        task: {
            setting: {
                metric: [means(getattr(trial.rankings[task], setting))[metric] for trial in found] for metric in METRICS
            }
            for setting in SETTINGS
        }
        for task in found[0].rankings
    }


def _leaves(tree: Any, change: Any, depth: int = 4) -> Any:
    """`change` applied to what lies `depth` levels down in nested dicts."""
    return {key: _leaves(value, change, depth - 1) for key, value in tree.items()} if depth else change(tree)


def _mean(trees: Sequence[Any]) -> Any:
    """The mean of numbers at the same place of nested dicts; a place that one of them lacks is left out."""
    first = trees[0]
    if isinstance(first, dict):
        shared = [key for key in first if all(key in tree for tree in trees)]
        return {key: _mean([tree[key] for tree in trees]) for key in shared}
    return first if all(value == first for value in trees) else float(np.mean(trees))
