"""Stage 1: pretrain the Q-Former on item texts and co-consumption (ILM, arXiv 2406.02844, phase 1).

Item-text steps (ITC + ITM + ITG) and interaction steps (item-item, user-item) alternate in a stated ratio.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ilm.model.builtin import resolve
from ilm.model.pretraining import PretrainingModel, TextBatch
from ilm.model.qformer import QFormer
from ilm.model.text_encoder import from_text_encoder, load_tokenizer
from ilm.train.checkpoint import CheckpointStore
from ilm.train.loop import Losses, Schedule, epoch_batch, optimizer_for, step_generator, train

if TYPE_CHECKING:
    from ilm.params import ModelParams, PretrainParams

HELD_OUT_BATCHES = 4
START_PIECE = "[unused0]"


@dataclass(frozen=True)
class Stage1Data:
    """What stage 1 learns from.

    `item_factors` [n, d], `user_factors` [m, d]; texts with the item of each; pairs [p, 2] of indexes.
    """

    item_factors: NDArray[np.float32]
    user_factors: NDArray[np.float32]
    text_items: NDArray[np.int32]
    texts: list[str]
    item_item: NDArray[np.int32]
    user_item: NDArray[np.int32]


class Stage1:
    """The losses of stage 1, one step at a time."""

    def __init__(self, model: PretrainingModel, data: Stage1Data, texts: TextBatch, params: "PretrainParams") -> None:
        self.model, self.data, self.texts, self.params = model, data, texts, params
        self.item_factors, self.user_factors = torch.from_numpy(data.item_factors), torch.from_numpy(data.user_factors)
        self.sampler = ItemTextSampler(data.text_items, params.held_out_fraction, params.seed)
        self.kinds = interaction_kinds(params.recipe)

    def losses(self, step: int) -> Losses:
        """Losses of one step: every `interaction_every`-th is an interaction step, its kinds take turns."""
        every = self.params.interaction_every
        if self.kinds and step % every == every - 1:
            turn = step // every
            return self._interaction(self.kinds[turn % len(self.kinds)], turn // len(self.kinds))
        turn = step - step // every if self.kinds else step
        rows = self.sampler.batch(self.params.batch_size, turn)
        values = self._item_text(rows, step_generator(self.params.seed, step))
        losses = {"loss": values["itc"] + values["itm"] + values["itg"]}
        losses |= {name: value.detach() for name, value in values.items()}
        if step % self.params.checkpoint_every == 0 or step >= self.params.steps - every:
            losses |= self.held_out()
        return losses

    @torch.no_grad()
    def held_out(self) -> Losses:
        """Item-text losses on items that are never trained on, the same batches each time."""
        batches = self.sampler.held_out_batches(self.params.batch_size)
        values = [self._item_text(rows, step_generator(self.params.seed, index)) for index, rows in enumerate(batches)]
        names = ("itc", "itm", "itg") if values else ()
        return {f"held_out_{name}": torch.stack([value[name] for value in values]).mean() for name in names}

    def _item_text(self, rows: NDArray[np.int64], generator: torch.Generator) -> Losses:
        items = torch.from_numpy(self.data.text_items[rows]).long()
        text = _trimmed(self.texts, rows)
        return self.model.item_text_losses(items, self.item_factors[items], text, self.params.paired_rows, generator)

    def _interaction(self, kind: str, turn: int) -> Losses:
        users = kind == "user-item"
        pairs, factors = (self.data.user_item, self.user_factors) if users else (self.data.item_item, self.item_factors)
        rows = epoch_batch(len(pairs), self.params.interaction_batch_size, turn, self.params.seed + 1)
        left, right = torch.from_numpy(pairs[rows]).long().unbind(dim=1)
        values = self.model.set_loss(factors[left], self.item_factors[right], left, right, users=users)
        (loss,) = values.values()
        return {"loss": loss} | {name: value.detach() for name, value in values.items()}


def pretrain(
    data: Stage1Data,
    model_params: "ModelParams",
    params: "PretrainParams",
    checkpoints: CheckpointStore | None = None,
    log: Callable[[dict[str, float], int], None] | None = None,
) -> tuple[QFormer, list[dict[str, float]]]:
    """Build and pretrain a Q-Former; returns it with one record of losses per step.

    With `recipe: none` (the paper's ILM-rand) the Q-Former keeps its start.
    """
    torch.manual_seed(params.seed)
    text_encoder = resolve(model_params.text_encoder)
    qformer = from_text_encoder(
        text_encoder,
        layers=model_params.layers,
        queries=model_params.queries,
        cf_width=data.item_factors.shape[1],
        cf_tokens=model_params.cf_tokens,
        cross_attention_every=model_params.cross_attention_every,
    )
    qformer.fit_scales(torch.from_numpy(data.item_factors), torch.from_numpy(data.user_factors))
    if params.recipe == "none":
        return qformer, []
    tokenizer = load_tokenizer(text_encoder)
    encoded = tokenizer(
        data.texts, padding=True, truncation=True, max_length=params.max_text_tokens, return_tensors="pt"
    )
    texts = TextBatch(encoded["input_ids"], encoded["attention_mask"].bool())
    pieces = texts.token_ids[texts.mask].unique()
    model = PretrainingModel(qformer, pieces, start_id=tokenizer.get_vocab()[START_PIECE])
    stage = Stage1(model, data, texts, params)
    optimizer = optimizer_for([(model, params.learning_rate)])
    schedule = Schedule(params.steps, params.warmup, params.checkpoint_every)
    return qformer, train("stage1", model, optimizer, stage.losses, schedule, checkpoints, log)


def interaction_kinds(recipe: str) -> list[str]:
    """The interaction losses of a recipe, in the order in which they take turns."""
    return [kind for mark, kind in (("II", "item-item"), ("UI", "user-item")) if mark in recipe.split("-")]


class ItemTextSampler:
    """Batches of text rows, one text per item: items are shuffled anew in each epoch, and an item with several texts
    shows them in turn from epoch to epoch. A fixed share of the items is held out."""

    def __init__(self, text_items: NDArray[np.int32], held_out_fraction: float, seed: int) -> None:
        self.seed = seed
        items, first, counts = np.unique(text_items, return_index=True, return_counts=True)
        if not (np.diff(text_items) >= 0).all():
            raise ValueError("item texts must be sorted by item")
        order = np.random.default_rng([seed, 0]).permutation(len(items))
        held_out = int(len(items) * held_out_fraction)
        self.first, self.counts = first, counts
        self.held_out, self.training = np.sort(order[:held_out]), np.sort(order[held_out:])

    def batch(self, batch_size: int, step: int) -> NDArray[np.int64]:
        """Text rows [batch_size] of training batch `step`."""
        size = min(batch_size, len(self.training))
        items = self.training[epoch_batch(len(self.training), size, step, self.seed)]
        epoch = np.arange(step * size, (step + 1) * size) // len(self.training)
        rows: NDArray[np.int64] = self.first[items] + (items + epoch) % self.counts[items]
        return rows

    def held_out_batches(self, batch_size: int) -> list[NDArray[np.int64]]:
        """Whole batches of held-out items with their last (fullest) text, the same ones each time."""
        rows = self.first[self.held_out] + self.counts[self.held_out] - 1
        full = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
        return [batch for batch in full if len(batch) == batch_size][:HELD_OUT_BATCHES]


def _trimmed(texts: TextBatch, rows: NDArray[np.int64]) -> TextBatch:
    """The given rows, without columns that are padding in all of them."""
    index = torch.from_numpy(rows)
    mask = texts.mask[index]
    length = int(mask.sum(dim=1).max())
    return TextBatch(texts.token_ids[index, :length], mask[:, :length])
