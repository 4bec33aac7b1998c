"""What stage 2 never trains on, and how well the language model speaks of it.

Kept out are a share of the items, whose titles and texts no answer gives (but for the task `title`, which is a way of
ranking and must know every item), and all choices of the valid part. With equal seeds and no larger a share, these are
items that stage 1 kept out, too.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ilm.prompts.attributes import Attributes
from ilm.prompts.material import Choices, Material
from ilm.prompts.tasks import TASKS
from ilm.train.mixture import draw

if TYPE_CHECKING:
    from ilm.prompts.example import Example

SAMPLE = 12
"""Held-out examples of each task."""


def split_material(
    attributes: Attributes,
    item_factors: NDArray[np.float32],
    popularity: NDArray[np.int64],
    train: Mapping[str, Choices],
    valid: Mapping[str, Choices],
    max_history: int,
    held_out_fraction: float,
    seed: int,
    spoken: Sequence[str] | None = None,
) -> tuple[Material, Material]:
    """Material to train on, and held-out material: other items to ask about, other choices.

    Args:
        train: choices of the train part by recommendation task.
        valid: of the valid part.
        held_out_fraction: share of the active items that are kept out.
        spoken: as in `Material`.
    """
    active = np.flatnonzero(attributes.active)
    order = np.random.default_rng([seed, 0]).permutation(len(active))
    kept_out = active[order[: int(len(active) * held_out_fraction)]]
    named = attributes.active.copy()
    named[kept_out] = False
    training = Material(attributes, item_factors, popularity, train, np.flatnonzero(named), named, max_history, spoken)
    held_out = Material(
        attributes, item_factors, popularity, valid, np.sort(kept_out), attributes.active, max_history, spoken
    )
    return training, held_out


@torch.no_grad()
def held_out_language(
    material: Material,
    tasks: Mapping[str, float],
    nats: Callable[[list["Example"], bool], tuple[float, int]],
    seed: int,
) -> dict[str, float]:
    """Log-perplexity per token of the answers to a fixed sample of held-out examples, for every task that has answers.

    Args:
        material: of `split_material`.
        tasks: weights of the mixture; tasks without weight are left out, as are those without held-out examples.
        nats: nats and tokens of the answers of examples; True sets all soft tokens to zero.

    Returns:
        `held_out_<task>_language`, and `held_out_<task>_language_blind` with soft tokens at zero: what wording alone
        explains. Nats summed over all tokens, divided by the tokens.
    """
    values = {}
    for number, task in enumerate(TASKS):
        rows = TASKS[task].rows(material) if tasks.get(task, 0) > 0 else np.zeros(0, np.int64)
        chosen = np.random.default_rng([seed, number]).permutation(rows)[:SAMPLE]
        examples = draw(material, task, chosen, [seed, number])
        if any(turn.answer for example in examples for turn in example.turns):
            for name, blind in (("", False), ("_blind", True)):
                total, tokens = nats(examples, blind)
                values[f"held_out_{task}_language{name}"] = total / tokens
    return values
