"""Step `evaluate`: popularity, ALS and the ILM rank the whole catalogue; per-user scores, metrics.json, the report."""

from typing import Any

from tasks import paths
from tasks.process import peak_memory_mb
from tasks.step import Step, main


def run(step: Step) -> None:
    """Score every test case with every system. Baselines see a user's whole history, the ILM what it trained on.

    Raises:
        DataError: no test cases, or examples, sequences and catalogue are of different runs.
        ArtifactError: an input is missing or damaged, or a system gives impossible scores.
    """
    from dataclasses import replace

    import numpy as np
    import polars as pl
    import yaml

    from ilm.baselines.als import Als
    from ilm.baselines.popularity import Popularity
    from ilm.cf.factors import load
    from ilm.data.schema import CATALOGUE, EXAMPLES, SEQUENCES, read_table, write_table
    from ilm.eval.cases import candidate_items, held_out_cases
    from ilm.eval.protocol import Recommender, target_ranks
    from ilm.eval.report import render
    from ilm.eval.summary import headline, score_table, significance, slices
    from ilm.files import read_json, write_json, write_text
    from ilm.model.storage import HISTORY
    from ilm.prompts.templates import TASKS
    from ilm.rank.head import load_recommender

    params = step.params.evaluate
    active = read_table(paths.CATALOGUE, CATALOGUE, with_text=True)["active"].to_numpy()
    sequences = read_table(paths.SEQUENCES, SEQUENCES)
    examples = read_table(paths.EXAMPLES, EXAMPLES)
    candidates = candidate_items(sequences, active, step.params.split.strategy)
    train_items = sequences.filter(pl.col("part") == "train")["item_index"].to_numpy()
    train_counts = np.bincount(train_items, minlength=len(active))

    shown = {task: held_out_cases(examples, sequences, task) for task in TASKS}
    whole = {task: replace(cases, histories=cases.seen) for task, cases in shown.items()}
    systems: dict[str, tuple[Recommender, Any]] = {
        "popularity": (Popularity(train_counts), whole),
        "als": (Als(load(paths.CF_FACTORS)), whole),
        "ilm": (load_recommender(paths.FINETUNED, paths.CF_FACTORS, params.batch_size), shown),
    }
    rankings = {
        name: {task: target_ranks(system, task, cases[task], candidates, params.batch_size, name) for task in TASKS}
        for name, (system, cases) in systems.items()
    }
    write_table(score_table(rankings, shown), paths.SCORES)

    metrics = {
        "data": {
            "users": sequences["user_index"].n_unique(),
            "items": int(active.sum()),
            "interactions": sequences.height,
            "split": step.params.split.strategy,
        },
        "systems": headline(rankings),
        "significance": significance(rankings, "ilm", samples=params.bootstrap_samples, seed=params.seed),
        "slices": slices(rankings, shown, train_counts, candidates),
        "cost": _cost_so_far(step),
    }
    for system, tasks in metrics["systems"].items():
        for task, settings in tasks.items():
            for setting, values in settings.items():
                step.log_metrics({f"{system}_{task}_{setting}_{name}": value for name, value in values.items()})
    write_json(paths.METRICS, metrics)

    stages = {"Stage 1: Q-Former": paths.PRETRAINED, "Stage 2: adapter and retrieval head": paths.FINETUNED}
    histories = {name: read_json(folder / HISTORY) for name, folder in stages.items() if (folder / HISTORY).exists()}
    settings_text = yaml.safe_dump(step.params.model_dump(by_alias=True), sort_keys=False)
    write_text(paths.REPORT, render(metrics, histories, settings_text))


def _cost_so_far(step: Step) -> dict[str, Any]:
    """Step -> seconds and peak memory; of this step what it took until now."""
    from ilm.errors import ArtifactError
    from ilm.files import read_json

    cost = {}
    for path in sorted(paths.COST.glob("*.json")):
        try:
            cost[path.stem] = {key: float(read_json(path)[key]) for key in ("seconds", "peak_memory_mb")}
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{path}: not the cost of a step ({error!r}). Delete it and run that step.") from None
    return cost | {"evaluate": {"seconds": round(step.elapsed(), 2), "peak_memory_mb": round(peak_memory_mb(), 1)}}


if __name__ == "__main__":
    main("evaluate", run)
