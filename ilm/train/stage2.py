"""Stage 2: Q-Former, adapter and retrieval head learn in front of the frozen language model (ILM, phase 2).

Supervision is dense: in a sequential prompt the hidden state behind every item of the history is asked for the item
after it, and the state at the prompt's end for the target; behind the prompt, the language-model loss spells the
target's title. Full cross-entropy over the catalogue throughout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ilm.cf.fold_in import UserFoldIn
from ilm.model.bridge import Bridge
from ilm.prompts.rendering import Rendered, render
from ilm.prompts.templates import SEEN
from ilm.train.checkpoint import CheckpointStore
from ilm.train.features import Examples
from ilm.train.loop import Losses, Schedule, epoch_batch, optimizer_for, step_generator, train

if TYPE_CHECKING:
    from ilm.params import FinetuneParams

SAMPLE = 64
"""Prompts of each task from which the head's statistics are taken."""


@dataclass(frozen=True)
class Stage2Data:
    """What stage 2 learns from.

    `item_factors` [n, d]; training examples per task; `titles`: token ids of every item's title as an answer.
    """

    item_factors: NDArray[np.float32]
    fold_in: UserFoldIn
    examples: dict[str, Examples]
    titles: list[list[int]]
    max_history: int


class Stage2:
    """The losses of stage 2, one step at a time."""

    def __init__(self, model: Bridge, data: Stage2Data, params: "FinetuneParams") -> None:
        self.model, self.data, self.params = model, data, params
        self.item_factors = torch.from_numpy(data.item_factors)
        self.users = {
            task: torch.from_numpy(data.fold_in(examples.histories)) for task, examples in data.examples.items()
        }
        self.turns = ["sequential"] * params.sequential_weight + ["straightforward"] * params.straightforward_weight
        self.item_queries: Tensor | None = None

    def losses(self, step: int) -> Losses:
        """Losses of one step; all prompts of a step are of one task, tasks take turns by weight.

        The retrieval table needs the query outputs of *all* items: a copy, refreshed whenever a checkpoint may be
        taken, so that a resumed training sees the same copy as an uninterrupted one. The batch's items come from that
        copy too: rows computed afresh would differ from the others just where the answers are, and be found by that.
        """
        if self.item_queries is None or step % self.params.checkpoint_every == 0:
            assert step % self.params.checkpoint_every == 0, "a training resumes where checkpoints are taken"
            self.item_queries = self.model.encode_all(self.item_factors)
        task = self.turns[step % len(self.turns)]
        turn = step // len(self.turns) * self.turns.count(task) + self.turns[: step % len(self.turns)].count(task)
        return self._task_losses(task, turn, step)

    def _task_losses(self, task: str, turn: int, step: int) -> Losses:
        model, examples = self.model, self.data.examples[task]
        sizes = {"sequential": self.params.batch_size, "straightforward": self.params.straightforward_batch_size}
        rows = epoch_batch(len(examples.targets), sizes[task], turn, self.params.seed)
        histories = [examples.histories[row][-self.data.max_history :] for row in rows]
        targets = torch.from_numpy(examples.targets[rows]).long()
        rendered, states = self._forward(task, rows, histories, step)
        assert self.item_queries is not None
        table = model.head.table(self.item_queries)
        losses = {"answer": F.cross_entropy(model.head(_at_answers(states, rendered), table), targets)}
        if task == "sequential":
            following = [np.append(h[1:], target) for h, target in zip(histories, examples.targets[rows], strict=True)]
            behind = model.head(self._behind_items(states, rendered), table)
            losses["history"] = F.cross_entropy(behind, torch.from_numpy(np.concatenate(following)).long())
        if self._spells_titles(step):
            losses["language"] = self._language_loss(states, rendered)
        weights = {"language": self.params.language_loss_weight}
        loss = torch.stack([weights.get(name, 1.0) * value for name, value in losses.items()]).sum()
        return {"loss": loss} | {f"{task}_{name}": value.detach() for name, value in losses.items()}

    def _spells_titles(self, step: int) -> bool:
        """Titles add a third to a prompt's length, so not every step has them."""
        every = self.params.language_every
        return self.params.language_loss_weight > 0 and step % every == every - 1

    @torch.no_grad()
    def sample_states(self) -> Tensor:
        """Hidden states [m, w] of one batch of each task, at all positions that the head is asked about."""
        samples = []
        for task, examples in self.data.examples.items():
            rows = epoch_batch(len(examples.targets), SAMPLE, 0, self.params.seed)
            histories = [examples.histories[row][-self.data.max_history :] for row in rows]
            rendered, states = self._forward(task, rows, histories, step=0)
            samples += [_at_answers(states, rendered), self._behind_items(states, rendered)]
        return torch.cat(samples)

    def _forward(
        self, task: str, rows: NDArray[np.int64], histories: list[NDArray[np.int32]], step: int
    ) -> tuple[Rendered, Tensor]:
        """Render prompts and run the language model on them; an item that occurs often is encoded once."""
        model, rendered = self.model, self._render(task, rows, histories, step)
        shown, place = rendered.prompts.items.unique(return_inverse=True)
        item_soft = model.adapter(model.encoder.encode(self.item_factors[shown]))[place]
        user_soft = model.adapter(model.encoder.encode(rendered.prompts.users, users=True))
        return rendered, model.hidden_states(rendered.prompts, item_soft, user_soft)

    def _render(self, task: str, rows: NDArray[np.int64], histories: list[NDArray[np.int32]], step: int) -> Rendered:
        generator = step_generator(self.params.seed, step)
        choice = torch.randint(len(SEEN[task]), (len(rows),), generator=generator)
        titles = [self.data.titles[target] for target in self.data.examples[task].targets[rows]]
        return render(
            self.model.language_model,
            [SEEN[task][index] for index in choice.tolist()],
            histories,
            self.users[task][torch.from_numpy(rows)],
            self.model.adapter.soft_tokens,
            titles if self._spells_titles(step) else None,
        )

    def _behind_items(self, states: Tensor, rendered: Rendered) -> Tensor:
        """Hidden states [items, w] at the last soft token of each item, in row-major order."""
        slots = rendered.prompts.token_ids == self.model.language_model.item_id
        soft_tokens = self.model.adapter.soft_tokens
        return states[slots][soft_tokens - 1 :: soft_tokens]

    def _language_loss(self, states: Tensor, rendered: Rendered) -> Tensor:
        """Cross-entropy per token of the titles; only their positions are projected to the vocabulary."""
        logits = self.model.language_model.logits(states[rendered.title])
        following = rendered.prompts.token_ids.roll(-1, dims=1)[rendered.title]
        return F.cross_entropy(logits, following)


def _at_answers(states: Tensor, rendered: Rendered) -> Tensor:
    """Hidden states [b, w] at the prompts' ends."""
    return states[torch.arange(len(states)), rendered.answer]


def finetune(
    model: Bridge,
    data: Stage2Data,
    params: "FinetuneParams",
    checkpoints: CheckpointStore | None = None,
    log: Callable[[dict[str, float], int], None] | None = None,
) -> list[dict[str, float]]:
    """Train `model` in place; returns one record of losses per step."""
    stage = Stage2(model, data, params)
    model.calibrate_items(stage.item_factors)
    model.calibrate_states(stage.sample_states())
    _start_at_popularity(model, data)
    optimizer = optimizer_for(
        [
            (model.encoder, params.qformer_learning_rate),
            (model.adapter, params.learning_rate),
            (model.head, params.learning_rate),
        ],
        params.weight_decay,
    )
    schedule = Schedule(params.steps, params.warmup, params.checkpoint_every)
    return train("stage2", model, optimizer, stage.losses, schedule, checkpoints, log)


def _start_at_popularity(model: Bridge, data: Stage2Data) -> None:
    """Item biases start at the log of the items' training frequency (add-one), the optimum of a constant model."""
    if model.head.item_bias is None:
        return
    sequential = data.examples["sequential"]
    counts = np.ones(len(data.item_factors))
    for history, target in zip(sequential.histories, sequential.targets, strict=True):
        np.add.at(counts, history[-data.max_history + 1 :], 1)
        counts[target] += 1
    with torch.no_grad():
        model.head.item_bias.copy_(torch.from_numpy(np.log(counts / counts.sum())).float())
