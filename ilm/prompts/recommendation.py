"""The recommendation tasks: a history and a user, or a user alone, and the item that came next."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ilm.prompts.example import USER, Example, Item, Turn, fill
from ilm.prompts.material import Material
from ilm.prompts.templates import SEEN


def sequential(material: Material, row: int, rng: np.random.Generator) -> Example:
    """The history's last items, each asked for the one after it, the user, and the target."""
    history, target = material.choices["sequential"][row]
    return recommendation(_drawn("sequential", rng), history, material.max_history, target)


def straightforward(material: Material, row: int, rng: np.random.Generator) -> Example:
    """The user alone, and the target."""
    history, target = material.choices["straightforward"][row]
    return recommendation(_drawn("straightforward", rng), history, material.max_history, target)


def title(material: Material, row: int, rng: np.random.Generator) -> Example:
    """As sequential, with the target's title or other name as the answer: what ranking by generation needs."""
    history, target = material.choices["sequential"][row]
    name = (material.spoken or material.attributes.titles)[target]
    return recommendation(_drawn("sequential", rng), history, material.max_history, target, name)


def recommendation(
    template: str, history: NDArray[np.int32], max_history: int, target: int | None = None, name: str | None = None
) -> Example:
    """A recommendation prompt from a template with `{user}` and perhaps `{history}`.

    Args:
        template: one of `ilm.prompts.templates`.
        history: item indexes, oldest first; all of them shape the user's vector.
        max_history: of these, how many of the last are shown.
        target: the item to ask for behind the last item and at the end; None to rank.
        name: the target's, if it is to be spelled.
    """
    shown = [int(item) for item in history[-max_history:]]
    following: Sequence[int | None] = [*shown[1:], target] if target is not None else [None] * len(shown)
    items = [Item(item, after) for item, after in zip(shown, following, strict=True)]
    ask = fill(template, history=items, user=USER)
    return Example((Turn(ask, () if name is None else (f" {name}",), target),), history, chat=False)


def _drawn(task: str, rng: np.random.Generator) -> str:
    return SEEN[task][rng.integers(len(SEEN[task]))]
