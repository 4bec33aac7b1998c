"""The end of stage 2: the retrieval head learns to hear wishes, in closed form.

The frozen language model's state at the end of a message tells what was asked for, and item vectors tell what items
have: linear probes find both. What is missing is the map between, and the few conversations of stage 2 do not
teach it. So two ridge regressions do: from item vectors to what items have, and from states to the wish
(docs/decisions/wishes.md).

Shapes: n items of the catalogue, c criteria, e head width, m prompts, w LLM width.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ilm.prompts.example import Example
from ilm.prompts.wishes import criteria, wished

if TYPE_CHECKING:
    from ilm.train.stage2 import Stage2

GAIN = 6.0
"""Logits that an item gains on average over others by having what is asked for."""
PENALTY = 0.003
"""Of the regression on item vectors, in units of their mean square summed over the catalogue."""
BATCH = 16


@torch.no_grad()
def learn_wishes(stage: "Stage2", count: int) -> None:
    """Fit the head's wish projection on `count` conversations. With 0, or a catalogue that says nothing to ask for, the
    projection stays zero.
    """
    material = stage.mixture.material
    found = criteria(material.attributes)
    if not count or not found.asked:
        return
    table = stage.table()
    active = torch.from_numpy(material.attributes.active).to(table.device)
    towards = directions(table[active], torch.from_numpy(found.has).to(table.device)[active])  # [e, c]
    drawn = wished(material, found, count, stage.params.seed)
    wanted = torch.from_numpy(np.stack([wish.wanted for wish in drawn])).to(table.device)
    stage.model.calibrate_wishes(_states(stage, [wish.example for wish in drawn]), GAIN * wanted @ towards.T)


def directions(table: Tensor, has: Tensor) -> Tensor:
    """Directions [e, c] along which items [n, e] that have a criterion (`has` bool [n, c]) lie one unit further, in the
    mean, than those that have not: ridge regression, scaled. All items or none: zero."""
    items = table.double() - table.double().mean(dim=0)
    gram = items.T @ items
    ridge = PENALTY * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    found: Tensor = torch.linalg.solve(gram + ridge, items.T @ has.double())
    along = items @ found
    counts = has.sum(dim=0)
    gap = (along * has).sum(dim=0) / counts - (along * ~has).sum(dim=0) / (len(has) - counts)
    return torch.where((counts > 0) & (counts < len(has)) & (gap > 0), found / gap, 0.0)


def _states(stage: "Stage2", examples: list[Example]) -> Tensor:
    """Hidden states [m, w] where the examples' last answers begin. Prompts of like length stand together."""
    order = sorted(range(len(examples)), key=lambda number: _length(examples[number]))
    states: dict[int, Tensor] = {}
    for start in range(0, len(order), BATCH):
        numbers = order[start : start + BATCH]
        rendered = stage.mixture.render([examples[number] for number in numbers]).to(stage.hardware.device)
        hidden, _ = stage.states(rendered)
        ends = hidden[torch.arange(len(numbers), device=hidden.device), rendered.answer]
        states |= dict(zip(numbers, ends.float(), strict=True))
    return torch.stack([states[number] for number in range(len(examples))])


def _length(example: Example) -> int:
    return sum(
        len(piece) if isinstance(piece, str) else 1 for turn in example.turns for piece in turn.ask + turn.answer
    )
