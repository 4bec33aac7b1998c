"""What the pages are made of, small and made up: metrics of a run, its showcase, a benchmark."""

from typing import Any

import numpy as np
import pyarrow as pa

from ilm.eval.cases import train_counts
from ilm.eval.conversation import TURNS, summarise
from ilm.eval.protocol import TOP, Cases, Ranking
from ilm.eval.seen_unseen import seen_and_unseen
from ilm.eval.summary import headline, significance, significance_over_seeds, slices
from ilm.eval.wishes import KINDS, Wish
from ilm.prompts.attributes import attributes
from ilm.report.item_space import item_space

USERS, ITEMS = 30, 20
TASKS = ("sequential", "straightforward")


def make_ranking(rng: np.random.Generator, worst: int) -> Ranking:
    ranks = rng.integers(1, worst, USERS).astype(np.int32)
    return Ranking(ranks, ranks + 1, rng.integers(0, ITEMS, (USERS, TOP)).astype(np.int32))


def make_metrics() -> dict[str, Any]:
    """Content of metrics.json, with every part that the page has a place for."""
    import polars as pl

    rng = np.random.default_rng(0)
    seen = [np.zeros(length, np.int32) for length in rng.integers(1, 9, USERS)]
    cases = Cases(np.arange(USERS, dtype=np.int32), rng.integers(0, ITEMS, USERS).astype(np.int32), seen, seen)
    worst = {"popularity": 90, "als": 60, "ilm": 20}
    rankings = {system: {task: make_ranking(rng, last) for task in TASKS} for system, last in worst.items()}
    rows = [(user, item % ITEMS, "train") for user in range(USERS) for item in range(user)]
    sequences = pl.DataFrame([*rows, (0, 1, "test")], schema=["user_index", "item_index", "part"], orient="row")
    wishes = [Wish(kind, np.arange(ITEMS) % 2 == 0, {}) for kind in KINDS * 10]
    lists = {turn: [rng.permutation(ITEMS)[:TOP].tolist() for _ in wishes] for turn in TURNS}
    sure = {"samples": 100, "seed": 0}
    return {
        "data": {"users": USERS, "items": ITEMS, "interactions": 1234, "split": "leave_one_out"},
        "systems": headline(rankings),
        "significance": significance(rankings, "ilm", **sure),
        "slices": slices(rankings, dict.fromkeys(TASKS, cases), train_counts(sequences, ITEMS), np.ones(ITEMS, bool)),
        "prompts": seen_and_unseen(rankings["ilm"], rankings["als"], **sure),
        "conversation": {"users": 30, "users_without_a_wish": 0}
        | summarise(wishes, lists, seen, cases.targets, np.ones(ITEMS, bool), **sure),
        "plain_text": {"log_perplexity_alone": 3.25, "log_perplexity_inside": 3.25},
        "ranking_seconds": {system: dict.fromkeys(TASKS, 0.5) for system in worst},
        "cost": {
            "cf": {"seconds": 2.5, "peak_memory_mb": 300.0},
            "finetune": {"seconds": 30, "peak_memory_mb": 4000.4},
        },
    }


def make_showcase() -> dict[str, Any]:
    """Content of showcase.json."""
    genres = ["War", "Drama"] * (ITEMS // 2)
    titles = [f"Item {number}" for number in range(ITEMS)]
    table = {"item_index": range(ITEMS), "title": titles, "genres": genres, "active": [True] * ITEMS}
    vectors = np.random.default_rng(1).normal(size=(ITEMS, 4)).astype(np.float32)
    wish = {"wish": "War", "fulfilled": [True, False, True], "share": 0.25}
    user = {
        "user": "42",
        "history": ["An Old Item (1920)"],
        "length": 7,
        "held_out": "The Held-Out Item (1930)",
        "rank": 3,
        "recommended": ["A Recommended Item (1940)", "The Held-Out Item (1930)"],
        "conversation": [{"ask": "Recommend War.", "answer": "Try Item 1.\nOr Item 2.", "wishes": [wish]}],
    }
    return {
        "settings": {"cf": {"factors": 64}, "data": {"folder": "data/raw"}},
        "training": {
            "stage1": [
                {"step": 0, "loss": 3.0, "itc": 2.0, "held_out_itc": 2.2},
                {"step": 1, "loss": 2.0, "ii": 1.5, "item_to_text_recall_at_1": 0.5},
            ],
            "stage2": [{"step": 0, "loss": 3.0, "sequential_answer": 3.0, "sequential_answer_alone": 4.0, "why": 1.0}],
        },
        "retrieval": [
            {
                "direction": "item_to_text", "among": 40, "recall_at_1": 0.5, "recall_at_10": 0.75,
                "chance_at_1": 0.025, "chance_at_10": 0.25,
            }
        ],
        "model": {"encoder": "qformer", "recipe": "IT-II", "language_model": "tiny"},
        "item_space": item_space({"cf": vectors, "encoder": vectors[:, :2]}, attributes(pa.table(table))),
        "users": [user] * 5,
        "test_users": USERS,
        "prompt_tokens": {"requests": 30, "model": 600, "text": 4500},
    }  # fmt: skip


def make_benchmark() -> dict[str, Any]:
    """Content of a benchmark's metrics.json: two seeds of one system, one of the other."""
    rng = np.random.default_rng(2)
    runs = {
        "ilm": [{task: make_ranking(rng, 20) for task in TASKS} for _ in range(2)],
        "als": [{task: make_ranking(rng, 60) for task in TASKS}],
    }
    means = {system: [headline({"it": tasks})["it"] for tasks in seeds] for system, seeds in runs.items()}
    metrics = {
        "data": {"users": USERS, "items": ITEMS, "interactions": 1234, "split": "leave_one_out"},
        "part": "test",
        "subject": "ilm",
        "order": list(runs),
        "seeds": {system: list(range(len(seeds))) for system, seeds in runs.items()},
        "significance": significance_over_seeds(runs, "ilm", samples=100, seed=0),
        "cost": {"ilm": {"pretrain": 1.5, "rank": 0.5}, "als": {"rank": 0.25}},
        "not_run": {"text": "none of the items has a title"},
    }
    leaves = metrics["significance"]["intervals"]
    metrics["systems"] = {
        system: {
            task: {
                setting: {metric: cell["mean"] for metric, cell in cells.items()} for setting, cells in settings.items()
            }
            for task, settings in tasks.items()
        }
        for system, tasks in leaves.items()
    }
    metrics["per_seed"] = {
        system: {
            task: {
                setting: {metric: [seed[task][setting][metric] for seed in seeds] for metric in cells}
                for setting, cells in settings.items()
            }
            for task, settings in seeds[0].items()
        }
        for system, seeds in means.items()
    }
    return metrics
