"""Stage 2: adapter, retrieval head and (if it has a learning rate) encoder learn in front of the frozen language model
(ILM, phase 2).

Every step has one batch of one task. Supervision is dense: in a sequential prompt the hidden state behind every item of
the history is asked for the item after it, and the state at the end of a question for the item that fits; where words
answer, the language-model loss spells them. Full cross-entropy over the catalogue throughout; a hidden state is asked
twice, beside the item context and alone, so that the language model does not leave all to the context.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from ilm.cf.fold_in import UserFoldIn
from ilm.model.bridge import Bridge
from ilm.model.item_context import Places
from ilm.model.shards import WHOLE, Shard
from ilm.prompts.example import Example
from ilm.prompts.material import Material
from ilm.prompts.rendering import Rendered, Renderer
from ilm.train.checkpoint import CheckpointStore
from ilm.train.context import train_context
from ilm.train.distributed import ONE_CPU, Hardware
from ilm.train.held_out import held_out_language
from ilm.train.loop import Losses, Schedule, optimizer_for, train
from ilm.train.mixture import Mixture
from ilm.train.wishes import learn_wishes

if TYPE_CHECKING:
    from ilm.params import FinetuneParams


HISTORY_BATCHES, OTHER_BATCHES = 32, 2
"""Batches of the task `sequential`, and of each other one, that the head is calibrated with."""


@dataclass(frozen=True)
class Stage2Data:
    """What stage 2 learns from, and what it never sees (`ilm.train.held_out.split_material`)."""

    material: Material
    held_out: Material
    fold_in: UserFoldIn


class Stage2:
    """The losses of stage 2, one step at a time: the shares of them that this process's rows of a micro-batch have."""

    def __init__(self, model: Bridge, data: Stage2Data, params: "FinetuneParams", hardware: Hardware = ONE_CPU) -> None:
        self.model, self.params, self.hardware = model, params, hardware
        self.item_factors = torch.from_numpy(data.material.item_factors).to(hardware.device)
        renderer = Renderer(model.language_model, model.adapter.soft_tokens, params.max_answer_tokens, model.item_names)
        self.mixture = Mixture(data.material, data.fold_in, renderer, params)
        self.item_queries = model.encode_all(self.item_factors)
        self._table: Tensor | None = None

    def encode_items(self) -> None:
        """Renew the copy of all items' query outputs, with an encoder that has learned."""
        if self.params.encoder_learning_rate:
            self.item_queries = self.model.encode_all(self.item_factors)

    def table(self) -> Tensor:
        """The retrieval table [n, e], with gradient; if nothing of it learns any more, it is made once."""
        if self._table is not None:
            return self._table
        table = self.model.head.table(self.item_queries)
        if self.model.head.items_are_kept and not self.params.encoder_learning_rate:
            self._table = table
        return table

    def losses(self, step: int, micro: Shard = WHOLE) -> Losses:
        """Losses of one micro-batch of a step.

        The retrieval table needs the query outputs of *all* items: a copy; with an encoder that learns, refreshed
        whenever a checkpoint may be taken, so that a resumed training sees the same copy as an uninterrupted one. The
        batch's items come from that copy too: rows computed afresh would differ from the others just where the answers
        are, and be found by that.
        """
        if step % self.params.checkpoint_every == 0 and micro.index == 0:
            self.encode_items()
        task, examples = self.mixture.batch(step)
        losses = self._shares(examples, self.hardware.shard.within(micro))
        weights = {"language": self.params.language_loss_weight}
        loss = torch.stack([weights.get(name, 1.0) * value for name, value in losses.items()]).sum()
        return {"loss": loss} | {f"{task}_{name}": value.detach() for name, value in losses.items()}

    def _shares(self, examples: list[Example], part: Shard) -> Losses:
        """Each loss is the sum over this part's rows, divided by the whole batch's count of what it is a mean over:
        parts add up. A batch's kinds of losses do not depend on the part."""
        whole, share = self.mixture.render(examples), examples[part.share(len(examples))]
        # A process without a row computes one all the same, for nothing: all must do the same collectives.
        own = whole if part.count == 1 else self.mixture.render(share or examples[:1])
        own = own.to(self.hardware.device)
        states, user_queries = self.states(own)
        table = self.table()
        losses = {}
        for name, everywhere, here in (("answer", whole.ends, own.ends), ("history", whole.behind, own.behind)):
            if len(everywhere.items):
                context = own.context(self.model.head, table, user_queries, here.rows, here.positions)
                queries = {name: context} if context is None else {name: context, f"{name}_alone": None}
                for kind, beside in queries.items():
                    scores = self.model.head(_at(states, here), beside, table)
                    losses[kind] = F.cross_entropy(scores, here.items, reduction="sum") / len(everywhere.items)
        if whole.spoken.any():
            losses["language"] = self._nats(states, own) / int(whole.spoken.sum())
        return losses if share else {name: 0.0 * value for name, value in losses.items()}

    def states(self, rendered: Rendered, blind: bool = False) -> tuple[Tensor, Tensor]:
        """Hidden states [b, l, w], and the users' query outputs [u, q, h]; an item that occurs often is encoded once.
        `blind` sets soft tokens to zero."""
        model, prompts = self.model, rendered.prompts
        shown, place = prompts.items.unique(return_inverse=True)
        item_soft = model.adapter(self.encoded(shown))[place]
        user_queries = model.encoder.encode(prompts.users, users=True)
        sight = 0.0 if blind else 1.0
        return model.hidden_states(prompts, sight * item_soft, sight * model.adapter(user_queries)), user_queries

    def encoded(self, items: Tensor) -> Tensor:
        """Query outputs [m, q, h] of items; where the encoder does not learn, they are in the catalogue's copy."""
        if not self.params.encoder_learning_rate:
            return self.item_queries[items]
        queries: Tensor = self.model.encoder.encode(self.item_factors[items])
        return queries

    def _nats(self, states: Tensor, rendered: Rendered) -> Tensor:
        """Cross-entropy summed over the answers' tokens; only their positions are projected to the vocabulary."""
        logits = self.model.language_model.logits(states[rendered.spoken])
        following = rendered.prompts.token_ids.roll(-1, dims=1)[rendered.spoken]
        return F.cross_entropy(logits.float(), following, reduction="sum")

    @torch.no_grad()
    def calibrate_head(self) -> None:
        """Fix the head's statistics and start its answer projection, from a sample of the places that it is asked
        about: mostly behind the items of histories, as in training."""
        head, table = self.model.head, self.table()
        samples, contexts = [], []
        for task, size in self.mixture.sizes.items():
            for turn in range(HISTORY_BATCHES if task == "sequential" else OTHER_BATCHES):
                rendered = self.mixture.render(self.mixture.examples(task, turn, size)).to(self.hardware.device)
                asked = [places for places in (rendered.ends, rendered.behind) if len(places.items)]
                if not asked:
                    continue
                states, user_queries = self.states(rendered)
                for places in asked:
                    samples.append(_at(states, places).float())
                    context = rendered.context(head, table, user_queries, places.rows, places.positions)
                    contexts += [] if context is None else [context]
        self.model.calibrate_states(torch.cat(samples))
        if contexts:
            self.model.calibrate_answers(torch.cat(samples), torch.cat(contexts))

    @torch.no_grad()
    def nats(self, examples: list[Example], blind: bool) -> tuple[float, int]:
        """Nats and tokens of the answers of examples, in batches of 8; `blind` sets soft tokens to zero."""
        total, tokens = 0.0, 0
        for start in range(0, len(examples), 8):
            rendered = self.mixture.render(examples[start : start + 8]).to(self.hardware.device)
            total += float(self._nats(self.states(rendered, blind)[0], rendered))
            tokens += int(rendered.spoken.sum())
        return total, tokens


def finetune(
    model: Bridge,
    data: Stage2Data,
    params: "FinetuneParams",
    checkpoints: CheckpointStore | None = None,
    log: Callable[[dict[str, float], int], None] | None = None,
    hardware: Hardware = ONE_CPU,
    goes_on: bool = False,
) -> list[dict[str, float]]:
    """Train `model`, whose language model lies on `hardware.device`, in place; returns one record of losses per step,
    the last one with the held-out values.

    A batch is the whole batch, however many processes share it and in however many micro-batches. A model that
    `goes_on` is trained already: nothing of it is started anew, and `refresh_steps` and `refresh_epochs` are enough.
    """
    model.to(hardware.device)
    stage = Stage2(model, data, params, hardware)
    steps, epochs = (params.refresh_steps, params.refresh_epochs) if goes_on else (params.steps, params.context_epochs)
    if not goes_on:
        model.calibrate_items(stage.item_queries, stage.item_factors.any(dim=1))
        _start_at_popularity(model, data.material)
    if params.item_context:
        train_context(model, stage.item_queries, data.material, params, epochs, checkpoints, log, hardware)
        if not params.encoder_learning_rate:
            model.head.keep_items()
    model.encoder.requires_grad_(params.encoder_learning_rate > 0)
    if not goes_on:
        stage.calibrate_head()
    optimizer = optimizer_for(
        [
            (model.encoder, params.encoder_learning_rate),
            (model.adapter, params.learning_rate),
            (model.head, params.head_learning_rate),
        ],
        params.weight_decay,
    )
    schedule = Schedule(steps, params.warmup, params.checkpoint_every, params.gradient_accumulation)
    history = train("stage2", model, optimizer, stage.losses, schedule, checkpoints, log, hardware)
    stage.encode_items()
    learn_wishes(stage, params.wish_prompts)
    if hardware.is_main or model.language_model.is_spread:
        values = held_out_language(data.held_out, params.mixture, stage.nats, params.seed)
        history[-1] |= values
        if log and hardware.is_main:
            log(values, steps - 1)
    return history


def _start_at_popularity(model: Bridge, material: Material) -> None:
    """Item biases start at the log of the items' training frequency (add-one), the optimum of a constant model."""
    if model.head.item_bias is None:
        return
    counts = torch.from_numpy(material.popularity + 1.0)
    with torch.no_grad():
        model.head.item_bias.copy_((counts / counts.sum()).log().float())


def _at(states: Tensor, asked: Places) -> Tensor:
    """Hidden states [m, w] where the head is asked."""
    return states[asked.rows, asked.positions]
