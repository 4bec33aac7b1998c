"""The tasks of stage 2 by name: which rows of the material each can use, and the example that it makes of one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilm.errors import DataError
from ilm.prompts import item_tasks, recommendation, user_tasks
from ilm.prompts.example import Example
from ilm.prompts.material import Material


@dataclass(frozen=True)
class Task:
    """`rows`: numbers of the rows that the task can use; `example`: the example of one of them, drawn with `rng`."""

    rows: Callable[[Material], NDArray[np.int64]]
    example: Callable[[Material, int, np.random.Generator], Example]


def _all(task: str) -> Callable[[Material], NDArray[np.int64]]:
    return lambda material: np.arange(len(material.choices[task].targets))


def _items(material: Material) -> NDArray[np.int64]:
    return material.items


def _pairs(material: Material) -> NDArray[np.int64]:
    """Items, if there is another one to compare with."""
    return material.items if len(material.items) > 1 else material.items[:0]


def _explained(material: Material) -> NDArray[np.int64]:
    """Choices whose target and some other item before it may be named."""
    choices, named = material.choices["sequential"], material.named
    before = np.zeros(len(choices.targets), dtype=np.bool_)
    for rows, some in choices.histories.blocks():
        targets = np.repeat(choices.targets[rows], some.lengths)
        before[rows] = some.any(named[some.values] & (some.values != targets))
    return np.flatnonzero(before & named[choices.targets])


def _talked_about(material: Material) -> NDArray[np.int64]:
    """Choices with a history and a target that may be named."""
    choices = material.choices["sequential"]
    return np.flatnonzero((choices.histories.lengths > 0) & material.named[choices.targets])


TASKS: dict[str, Task] = {
    "sequential": Task(_all("sequential"), recommendation.sequential),
    "straightforward": Task(_all("straightforward"), recommendation.straightforward),
    "title": Task(_all("sequential"), recommendation.title),
    "description": Task(_items, item_tasks.description),
    "attributes": Task(_items, item_tasks.attributes),
    "comparison": Task(_pairs, item_tasks.comparison),
    "why": Task(_explained, user_tasks.why),
    "conversation": Task(_talked_about, user_tasks.conversation),
}


def usable_rows(material: Material, tasks: Mapping[str, float]) -> dict[str, NDArray[np.int64]]:
    """Rows of every task with a weight above zero.

    A catalogue without lists or years is no mistake: questions and wishes about them are just not made.

    Raises:
        DataError: such a task has no row at all.
    """
    rows = {name: TASKS[name].rows(material) for name, weight in tasks.items() if weight > 0}
    empty = [name for name, found in rows.items() if not len(found)]
    if empty:
        raise DataError(
            f"no training example can be made for {', '.join(empty)}: too few items or histories. "
            f"Set {', '.join(f'finetune.mixture.{name}' for name in empty)} to 0."
        )
    return rows
