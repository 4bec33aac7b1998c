"""Step `evaluate`: popularity, ALS and the ILM rank the whole catalogue, the ILM talks; scores and metrics.json."""

from typing import Any

from tasks import paths
from tasks.process import peak_memory_mb
from tasks.step import Step, main


def run(step: Step) -> None:
    """Score every test case with every system. Baselines see a user's whole history, the ILM what it trained on.

    The ILM is also asked by the unseen prompts, in conversations, and for its likelihood of plain text.

    Raises:
        DataError: no test cases, or examples, sequences and catalogue are of different runs.
        ArtifactError: an input is missing or damaged, or a system gives impossible scores.
    """
    from dataclasses import replace

    from ilm.baselines.als import Als
    from ilm.baselines.popularity import Popularity
    from ilm.cf.factors import load
    from ilm.data.examples import held_out_examples
    from ilm.data.schema import CATALOGUE, read_table, reading, write_table
    from ilm.data.sequences import scan_sequences
    from ilm.eval.cases import candidate_items, held_out_cases, sizes, train_counts
    from ilm.eval.conversation import evaluate_conversations
    from ilm.eval.plain_text import plain_text
    from ilm.eval.protocol import Ranking, Recommender, target_ranks
    from ilm.eval.seen_unseen import seen_and_unseen
    from ilm.eval.summary import headline, score_table, significance, slices
    from ilm.files import write_json
    from ilm.prompts.attributes import read_attributes
    from ilm.prompts.catalogue import Catalogue
    from ilm.prompts.templates import TASKS, UNSEEN
    from ilm.rank.head import load_recommender

    params = step.params.evaluate
    catalogue = read_table(paths.CATALOGUE, CATALOGUE, with_text=True)
    active = catalogue["active"].to_numpy()
    examples = held_out_examples(paths.EXAMPLES, "test", params.max_users, params.seed)
    sequences, strategy = scan_sequences(paths.SEQUENCES), step.params.split.strategy
    with reading(paths.SEQUENCES):
        candidates = candidate_items(sequences, active, strategy)
        data = sizes(sequences, active, strategy)
        counts = train_counts(sequences, len(active))
        shown = {task: held_out_cases(examples, sequences, task) for task in TASKS}
    whole = {task: replace(cases, histories=cases.seen) for task, cases in shown.items()}
    factors, ilm = load(paths.CF_FACTORS), load_recommender(paths.FINETUNED, paths.CF_FACTORS, params.batch_size)
    systems: dict[str, tuple[Recommender, Any]] = {
        "popularity": (Popularity(counts[0]), whole),
        "als": (Als(factors), whole),
        "ilm": (ilm, shown),
    }
    rankings: dict[str, dict[str, Ranking]] = {}
    seconds: dict[str, dict[str, float]] = {}
    for name, (recommender, cases) in systems.items():
        rankings[name], seconds[name] = {}, {}
        for task in TASKS:
            start = step.elapsed()
            rankings[name][task] = target_ranks(recommender, task, cases[task], candidates, params.batch_size, name)
            seconds[name][task] = round(step.elapsed() - start, 3)
    write_table(score_table(rankings, shown), paths.SCORES)
    unseen = {
        task: target_ranks(ilm.asking(UNSEEN), task, cases, candidates, params.batch_size, "ilm, unseen prompt")
        for task, cases in shown.items()
    }
    titles = Catalogue(catalogue["item_id"].to_list(), catalogue["title"].to_list(), active)
    sure = {"samples": params.bootstrap_samples, "seed": params.seed}

    metrics = {
        "data": data | {"asked": len(shown["sequential"].targets)},
        "systems": headline(rankings),
        "significance": significance(rankings, "ilm", **sure),
        "prompts": seen_and_unseen(rankings["ilm"], unseen, **sure),
        "conversation": evaluate_conversations(
            ilm,
            titles,
            read_attributes(paths.CATALOGUE),
            shown["sequential"],
            factors.item_factors,
            users=params.conversation_users,
            **sure,
        ),
        "plain_text": plain_text(ilm.model),
        "slices": slices(rankings, shown, counts, candidates),
        "cost": _cost_so_far(step),
        "ranking_seconds": seconds,
    }
    for system, tasks in (metrics["systems"] | {"ilm-unseen": headline({"ilm": unseen})["ilm"]}).items():
        for task, settings in tasks.items():
            for setting, values in settings.items():
                step.log_metrics({f"{system}_{task}_{setting}_{name}": value for name, value in values.items()})
    for wish, found in metrics["conversation"].get("by_wish", {}).items():
        for turn, values in found["turns"].items():
            step.log_metrics({f"conversation_{wish}_{turn}_{name}": value for name, value in values.items()})
    step.log_metrics({f"plain_text_{name}": value for name, value in metrics["plain_text"].items()})
    write_json(paths.METRICS, metrics)


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
