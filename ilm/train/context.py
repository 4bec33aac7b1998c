"""The first part of stage 2: item vectors and item context learn from histories, without the language model.

The retrieval head's second part (`ilm.model.item_context`) is a sequential recommender by itself: a hundred times
cheaper per step than one through the language model, so it is not the language model's time that teaches which items
follow which. Encoder, adapter and answer projection wait.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ilm.model.bridge import Bridge
from ilm.model.head import HEAD_WIDTH
from ilm.model.item_context import Places
from ilm.model.shards import Shard
from ilm.prompts.material import Material
from ilm.train.checkpoint import CheckpointStore
from ilm.train.distributed import Hardware
from ilm.train.loop import Losses, Schedule, epoch_batch, optimizer_for, step_generator, train

if TYPE_CHECKING:
    from ilm.params import FinetuneParams

DROPOUT = 0.4
"""Share of the attention's inputs that are set to zero (docs/decisions/retrieval-head.md)."""


class ContextSteps:
    """The losses of this part, one step at a time: full cross-entropy of the next item at every place of a history."""

    def __init__(
        self, model: Bridge, item_queries: Tensor, material: Material, params: "FinetuneParams", hardware: Hardware
    ) -> None:
        self.model, self.item_queries = model, item_queries
        self.material, self.params, self.hardware = material, params, hardware

    def losses(self, step: int, micro: Shard) -> Losses:
        """This part's share of the loss of one step."""
        choices, longest = self.material.choices["sequential"], self.material.max_history
        rows = epoch_batch(len(choices.targets), self.params.context_batch_size, step, self.params.seed)
        part = self.hardware.shard.within(micro)
        whole = sum(min(len(choices.histories[row]), longest) for row in rows)
        own = [choices[int(row)] for row in rows[part.rows(len(rows))]]
        sequences = [np.append(history[-longest:], target) for history, target in own]
        shown, following = _places(sequences)
        shown, following = shown.to(self.hardware.device), following.to(self.hardware.device)
        kept = torch.rand(len(rows), longest, HEAD_WIDTH, generator=step_generator(self.params.seed, step)) >= DROPOUT
        head = self.model.head
        assert head.item_context is not None
        table = head.table(self.item_queries)
        noise = kept[part.rows(len(rows))].to(table) / (1.0 - DROPOUT)
        nobody = table.new_zeros(len(sequences), HEAD_WIDTH)
        context = head.item_context(table, shown, following.rows, following.positions, nobody, noise)
        return {"loss": F.cross_entropy(head(None, context, table), following.items, reduction="sum") / whole}


def train_context(
    model: Bridge,
    item_queries: Tensor,
    material: Material,
    params: "FinetuneParams",
    epochs: int,
    checkpoints: CheckpointStore | None,
    log: Callable[[dict[str, float], int], None] | None,
    hardware: Hardware,
) -> None:
    """Train the head's item vectors and item context in place, in so many passes over the histories.

    `item_queries` [n, q, h]: query outputs of all items, which stay as they are.
    """
    stage = ContextSteps(model, item_queries, material, params, hardware)
    optimizer = optimizer_for([(model.head, params.context_learning_rate)], params.weight_decay)
    steps = math.ceil(epochs * len(material.choices["sequential"].targets) / params.context_batch_size)
    schedule = Schedule(steps, params.warmup, params.checkpoint_every, params.gradient_accumulation)
    part = checkpoints.part("context") if checkpoints else None

    def log_as_context(values: dict[str, float], step: int) -> None:
        if log:
            log({f"context_{name}": value for name, value in values.items()}, step)

    train("context", model, optimizer, stage.losses, schedule, part, log_as_context, hardware)


def _places(sequences: list[NDArray[np.int32]]) -> tuple[Places, Places]:
    """Of sequences of items: every item but the last as shown, and the one after it as asked for at its place."""
    lengths = np.array([len(sequence) - 1 for sequence in sequences])
    rows = torch.from_numpy(np.repeat(np.arange(len(sequences)), lengths))
    positions = torch.from_numpy(np.concatenate([np.arange(length) for length in lengths]))
    shown, following = (
        torch.from_numpy(np.concatenate([sequence[cut] for sequence in sequences]).astype(np.int64))
        for cut in (slice(None, -1), slice(1, None))
    )
    return Places(rows, positions, shown), Places(rows, positions, following)
