"""What one model achieved on the holdout, and everything that may be wrong with it before it is compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilm.eval.metrics import METRICS

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """One model's results; n users, in any order. Each user's value of a metric is the mean over the user's targets."""

    users: Sequence[str]
    """[n] user ids, each once."""
    metrics: Mapping[str, Values]
    """Each of `ilm.eval.metrics.METRICS` -> its value per user [n], from 0 to 1."""
    rare_targets: NDArray[np.int64]
    """[n]: how many of the user's targets are rare items; a fact of the holdout, the same for every model."""
    rare_metrics: Mapping[str, Values]
    """As `metrics`, over the rare targets alone; 0 for a user without one."""
    coverage: float
    """Share of the items that could be known at the cut which stand in anybody's first 10."""
    invalid_items: int
    """Recommended items that today's item table does not have, or that have no title."""


def faults(scores: Scores, model: str) -> list[str]:
    """Whatever makes the scores of a model unfit to decide by, a sentence each; empty if nothing does."""
    users, count = len(scores.users), len(set(scores.users))
    if not users:
        return [f"The {model} was scored for no user: nothing is proved."]
    found = [f"The {model} has {users - count} users twice."] if count < users else []
    rare = {f"{name} on rare items": values for name, values in scores.rare_metrics.items()}
    named = {**scores.metrics, **rare}
    wanted = [*METRICS, *(f"{name} on rare items" for name in METRICS)]
    found += [f"The {model} has no values of {name}." for name in wanted if name not in named]
    shapes = {name: values.shape for name, values in named.items()} | {"rare targets": scores.rare_targets.shape}
    for name, shape in shapes.items():
        if shape != (users,):
            found.append(f"The {model} has {name} of shape {list(shape)} for {users} users.")
    for name, values in named.items():
        wrong = int(np.count_nonzero(~((values >= 0) & (values <= 1))))  # NaN is neither
        if wrong:
            found.append(f"The {model} has {wrong} values of {name} that are no numbers from 0 to 1.")
    if not 0 <= scores.coverage <= 1:
        found.append(f"The {model} has a coverage of {scores.coverage}, not a number from 0 to 1.")
    if scores.invalid_items < 0:
        found.append(f"The {model} has {scores.invalid_items} invalid items: they were not counted.")
    return found


def differences_in_kind(champion: Scores, challenger: Scores) -> list[str]:
    """Why two sound `Scores` are not of the same holdout, a sentence each; empty if they are."""
    mine, others = (dict(zip(of.users, of.rare_targets.tolist(), strict=True)) for of in (champion, challenger))
    if mine.keys() != others.keys():
        return [
            f"Champion and challenger were scored for different users: {len(mine.keys() - others.keys())} of the "
            f"champion's {len(mine)} are not among the challenger's {len(others)}."
        ]
    if mine != others:
        return ["Champion and challenger have different rare targets: they were scored on different holdouts."]
    return []


def by_user(scores: Scores) -> Scores:
    """The same, in the order of the user ids, so that no result depends on the order in which users came."""
    order = np.array(sorted(range(len(scores.users)), key=lambda row: scores.users[row]), dtype=np.int64)
    return Scores(
        users=[scores.users[row] for row in order],
        metrics={name: values[order] for name, values in scores.metrics.items()},
        rare_targets=scores.rare_targets[order],
        rare_metrics={name: values[order] for name, values in scores.rare_metrics.items()},
        coverage=scores.coverage,
        invalid_items=scores.invalid_items,
    )
