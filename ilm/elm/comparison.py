"""Systems side by side: per task and averaged over the tasks, with intervals over items and paired tests."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilm.elm.plan import tasks_of
from ilm.elm.scores import Scores
from ilm.elm.tasks import Request
from ilm.errors import DataError
from ilm.eval.significance import compare

AVERAGE = "average"
METRICS = ("semantic_consistency", "log_perplexity")


def comparison(
    requests: Sequence[Request], runs: Mapping[str, Sequence[Scores]], subject: str, *, samples: int, seed: int
) -> dict[str, Any]:
    """How good the systems are, and whether the subject differs from each other one.

    An item is what is resampled: all of its tasks stay together. Log-perplexity is the nats of a task's answers divided
    by their tokens; a system that reads nothing (a floor) has none.

    Args:
        requests: of the scores, all tasks with the same items.
        runs: system -> its scores, one for each seed.
        subject: the system that others are tested against.
        samples: resamples and sign flips.
        seed: of both.

    Returns:
        metric -> {"intervals": system -> task or "average" -> {mean, low, high, seed_deviation}, "paired":
        "<subject>_minus_<system>" -> task or "average" -> {difference, low, high, p_value, p_holm}}. Holm's correction
        is for the number of other systems, per task.

    Raises:
        DataError: tasks have different items, or systems read different tokens.
    """
    rows = _rows(requests)
    tokens = [scores.tokens for seeds in runs.values() for scores in seeds if scores.tokens is not None]
    if any(not np.array_equal(counts, tokens[0]) for counts in tokens):
        raise DataError(
            "ELM-24: systems cut the references into different tokens, so their log-perplexities cannot be compared. "
            "Compare systems with the same language model."
        )
    values = {
        METRICS[0]: {system: [scores.consistency for scores in seeds] for system, seeds in runs.items()},
        METRICS[1]: {
            system: [per_token(scores, rows) for scores in seeds]
            for system, seeds in runs.items()
            if seeds[0].nats is not None
        },
    }
    names = [AVERAGE, *tasks_of(requests)]
    return {metric: _compared(found, rows, names, subject, samples, seed) for metric, found in values.items()}


def per_token(scores: Scores, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Nats [n] in units of the mean number of tokens of an answer of the task: their mean over a task's answers is the
    task's nats per token, all of its tokens counting alike."""
    assert scores.nats is not None
    assert scores.tokens is not None
    values = scores.nats.copy()
    for of_task in rows.T:
        values[of_task] /= scores.tokens[of_task].mean()
    return values


def _rows(requests: Sequence[Request]) -> NDArray[np.int64]:
    """Numbers of the requests [items, tasks]."""
    items = sorted({request.item for request in requests})
    tasks = tasks_of(requests)
    number = {(request.item, request.task): row for row, request in enumerate(requests)}
    if len(number) != len(requests) or len(number) != len(items) * len(tasks):
        raise DataError("ELM-24: the tasks have different items. Make the references anew.")
    return np.array([[number[item, task] for task in tasks] for item in items])


def _compared(
    values: Mapping[str, Sequence[NDArray[np.float64]]],
    rows: NDArray[np.int64],
    names: Sequence[str],
    subject: str,
    samples: int,
    seed: int,
) -> dict[str, Any]:
    runs = {}
    for system, seeds in values.items():
        by_task = np.stack([run[rows] for run in seeds])  # [seeds, items, tasks]
        runs[system] = np.concatenate([by_task.mean(axis=2, keepdims=True), by_task], axis=2)
    found = compare(runs, subject, samples=samples, seed=seed)
    return {
        "intervals": {
            system: {name: dict(vars(cell)) for name, cell in zip(names, cells, strict=True)}
            for system, cells in found.estimates.items()
        },
        "paired": {
            f"{subject}_minus_{system}": {name: dict(vars(cell)) for name, cell in zip(names, cells, strict=True)}
            for system, cells in found.paired.items()
        },
    }
