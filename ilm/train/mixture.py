"""Batches of stage 2: which task a step has, how many prompts, and the examples themselves, by the step's number."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ilm.cf.fold_in import UserFoldIn
from ilm.prompts.example import Example
from ilm.prompts.material import Material
from ilm.prompts.rendering import Rendered, Renderer
from ilm.prompts.tasks import TASKS, usable_rows
from ilm.train.loop import epoch_batch

if TYPE_CHECKING:
    from ilm.params import FinetuneParams

SAMPLE = 64
"""Examples of a task from which the length of its prompts is taken."""

_NUMBERS = {task: number for number, task in enumerate(TASKS)}


class Mixture:
    """Examples of the tasks of `params.mixture`, taken by weight.

    Raises:
        DataError: a task with a weight has no example.
    """

    def __init__(self, material: Material, fold_in: UserFoldIn, renderer: Renderer, params: "FinetuneParams") -> None:
        self.material, self.fold_in, self.renderer, self.seed = material, fold_in, renderer, params.seed
        self.users: dict[bytes, NDArray[np.float32]] = {}
        self.rows = usable_rows(material, params.mixture)
        self.turns = turns(params.mixture, params.steps)
        self.sizes = {task: self._batch_size(task, params.step_tokens) for task in self.rows}

    def batch(self, step: int) -> tuple[str, list[Example]]:
        """The task of a step and its whole batch; rows are shuffled anew when all have had their turn."""
        task, turn = self.turns[step]
        return task, self.examples(task, turn, self.sizes[task])

    def examples(self, task: str, turn: int, size: int) -> list[Example]:
        """Batch number `turn` of a task in batches of `size`. What is random in an example is the example's own."""
        number = _NUMBERS[task]
        rows = self.rows[task][epoch_batch(len(self.rows[task]), size, turn, self.seed + number)]
        return draw(self.material, task, rows, [self.seed, number, turn])

    def render(self, examples: list[Example]) -> Rendered:
        """The examples as tokens, with their users' vectors; a profile's vector is folded in once per training."""
        keys = [example.profile.tobytes() for example in examples]
        new = {key: example.profile for key, example in zip(keys, examples, strict=True) if key not in self.users}
        self.users |= zip(new, self.fold_in(list(new.values())), strict=True)
        return self.renderer(examples, torch.from_numpy(np.stack([self.users[key] for key in keys])))

    def _batch_size(self, task: str, step_tokens: int) -> int:
        """Prompts of a task that have about `step_tokens` tokens, padding included: 1, 2, 3, 4, 6, 8, 12, 16, … so that
        processes and micro-batches can share them."""
        sample = self.render(self.examples(task, 0, SAMPLE))
        longest = np.quantile(sample.prompts.mask.sum(dim=1).numpy(), 0.9)
        wanted = max(1, int(step_tokens / longest))
        power = 1 << (wanted.bit_length() - 1)
        return power * 3 // 2 if 1 < power * 3 // 2 <= wanted else power


def draw(material: Material, task: str, rows: NDArray[np.int64], seed: list[int]) -> list[Example]:
    """The examples of a task's rows, each with a generator of its own."""
    return [
        TASKS[task].example(material, int(row), np.random.default_rng([*seed, place])) for place, row in enumerate(rows)
    ]


def turns(weights: Mapping[str, float], steps: int) -> list[tuple[str, int]]:
    """The task of every step, and how often the task has had a step before.

    Smooth weighted round robin: each step every task gains its share of a step, and the one that has gained most
    spends one. After any number of steps every task is less than one step from its share.
    """
    tasks = [task for task in TASKS if weights.get(task, 0) > 0]
    shares = np.array([weights[task] for task in tasks]) / sum(weights[task] for task in tasks)
    gained, counts, result = np.zeros(len(tasks)), [0] * len(tasks), []
    for _ in range(steps):
        gained += shares
        chosen = int(gained.argmax())
        gained[chosen] -= 1
        result.append((tasks[chosen], counts[chosen]))
        counts[chosen] += 1
    return result
