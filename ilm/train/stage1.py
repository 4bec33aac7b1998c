"""Stage 1: pretrain the Q-Former on item texts and co-consumption (ILM, arXiv 2406.02844, phase 1).

Item-text steps (ITC + ITM + ITG) and interaction steps (item-item, user-item) alternate in a stated ratio.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ilm.errors import ConfigError
from ilm.model.builtin import resolve
from ilm.model.encoders import Encoder, start_encoder
from ilm.model.pretraining import PretrainingModel, TextBatch
from ilm.model.qformer import QFormer
from ilm.model.shards import WHOLE, Shard
from ilm.model.text_encoder import load_tokenizer
from ilm.train.checkpoint import CheckpointStore
from ilm.train.distributed import ONE_CPU, Hardware
from ilm.train.loop import Evaluation, Losses, Schedule, optimizer_for, step_generator, train
from ilm.train.retrieval_check import retrieval_recall, sampled
from ilm.train.sampling import ItemTextSampler, PairSampler
from ilm.train.texts import tokenised

if TYPE_CHECKING:
    from ilm.params import ModelParams, PretrainParams

OBJECTIVES = ("itc", "itm", "itg", "ii", "ui")
HELD_OUT_LOSS = "held_out_loss"
"""Sum of the recipe's losses on held-out items and pairs: the metric of early stopping."""
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
    """The losses of stage 1, one step at a time, and the same losses on what is held out."""

    def __init__(
        self,
        model: PretrainingModel,
        data: Stage1Data,
        texts: TextBatch,
        params: "PretrainParams",
        hardware: Hardware = ONE_CPU,
    ) -> None:
        self.model, self.data, self.texts, self.params, self.hardware = model, data, texts, params, hardware
        self.item_factors, self.user_factors = torch.from_numpy(data.item_factors), torch.from_numpy(data.user_factors)
        self.sampler = ItemTextSampler(data.text_items, params.held_out_fraction, params.seed)
        self.kinds = interaction_kinds(params.recipe)
        tables = {"item-item": data.item_item, "user-item": data.user_item}
        self.pairs = {
            kind: PairSampler(tables[kind], kind == "item-item", params.held_out_fraction, params.seed)
            for kind in self.kinds
        }

    def losses(self, step: int, micro: Shard = WHOLE) -> Losses:
        """Losses of one step: every `interaction_every`-th is an interaction step, its kinds take turns.

        Contrast is within a micro-batch, and a step's losses are the means of its micro-batches'.
        """
        every = self.params.interaction_every
        if self.kinds and step % every == every - 1:
            turn = step // every
            kind, turn = self.kinds[turn % len(self.kinds)], turn // len(self.kinds)
            pairs = self.pairs[kind].batch(self.params.interaction_batch_size, turn)
            values = self._interaction(kind, pairs[micro.rows(len(pairs))], self.hardware.shard)
        else:
            turn = step - step // every if self.kinds else step
            rows = self.sampler.batch(self.params.batch_size, turn)
            paired = min(self.params.paired_rows, len(rows))
            parts = [part[micro.rows(len(part))] for part in (rows[:paired], rows[paired:]) if len(part)]
            generator = step_generator(self.params.seed, step * micro.count + micro.index)
            values = self._item_text(np.concatenate(parts), len(parts[0]), generator, self.hardware.shard)
        objective = torch.stack([value for name, value in values.items() if name in OBJECTIVES]).sum()
        return {name: value / micro.count for name, value in ({"loss": objective} | values).items()}

    def held_out(self) -> Losses:
        """The recipe's losses on items and pairs that are never trained on, the same batches each time, and their sum;
        nothing if nothing is held out. Every process computes all of it."""
        sums: dict[str, list[torch.Tensor]] = {}
        batches = [
            self._item_text(
                rows, min(self.params.paired_rows, len(rows)), step_generator(self.params.seed, index), WHOLE
            )
            for index, rows in enumerate(self.sampler.held_out_batches(self.params.batch_size))
        ]
        for kind, sampler in self.pairs.items():
            pairs = sampler.held_out_batches(self.params.interaction_batch_size)
            batches += [self._interaction(kind, batch, WHOLE) for batch in pairs]
        for values in batches:
            for name in values.keys() & OBJECTIVES:
                sums.setdefault(name, []).append(values[name])
        means = {f"held_out_{name}": torch.stack(sums[name]).mean() for name in OBJECTIVES if name in sums}
        return means | ({HELD_OUT_LOSS: torch.stack(list(means.values())).sum()} if means else {})

    def evaluation(self) -> Evaluation | None:
        """Held-out losses and early stopping on their sum; None if nothing is held out.

        Raises:
            ConfigError: early stopping is wanted, but nothing is held out.
        """
        patience = self.params.early_stop_patience
        kinds = [self.sampler.held_out_batches(2), *(sampler.held_out_batches(2) for sampler in self.pairs.values())]
        if any(kinds):
            return Evaluation(self.held_out, HELD_OUT_LOSS, patience)
        if patience:
            raise ConfigError(
                f"pretrain.early_stop_patience is {patience}, but no items or pairs are held out. Raise "
                "pretrain.held_out_fraction, or set the patience to 0."
            )
        return None

    def retrieval(self) -> dict[str, float]:
        """The retrieval check on held-out items against the catalogue, or a sample of it; nothing if none are held
        out."""
        device, text_items, asked = self.hardware.device, self.data.text_items, self.sampler.held_out_rows()
        if not len(asked):
            return {}
        items, asked = sampled(text_items, len(self.item_factors), asked, self.params.seed)
        rows = np.flatnonzero(np.isin(text_items, items))
        token_ids, mask = (part[torch.from_numpy(rows)].to(device) for part in (self.texts.token_ids, self.texts.mask))
        found = retrieval_recall(
            self.model,
            self.item_factors[torch.from_numpy(items)].to(device),
            torch.from_numpy(np.searchsorted(items, text_items[rows])),
            TextBatch(token_ids.long(), mask),
            torch.from_numpy(np.searchsorted(rows, asked)),
        )
        return found | {"retrieval_items": float(len(items)), "retrieval_texts": float(len(rows))}

    def _item_text(self, rows: NDArray[np.int64], paired: int, generator: torch.Generator, shard: Shard) -> Losses:
        items = torch.from_numpy(self.data.text_items[rows]).long()
        text, factors = _trimmed(self.texts, rows), self.item_factors[items]
        items, factors, token_ids, mask = (
            tensor.to(self.hardware.device) for tensor in (items, factors, text.token_ids, text.mask)
        )
        return self.model.item_text_losses(items, factors, TextBatch(token_ids, mask), paired, generator, shard)

    def _interaction(self, kind: str, pairs: NDArray[np.int32], shard: Shard) -> Losses:
        users = kind == "user-item"
        left, right = torch.from_numpy(pairs).long().unbind(dim=1)
        left_factors = (self.user_factors if users else self.item_factors)[left]
        left_factors, right_factors, left, right = (
            tensor.to(self.hardware.device) for tensor in (left_factors, self.item_factors[right], left, right)
        )
        return self.model.set_loss(left_factors, right_factors, left, right, users, shard)


def pretrain(
    data: Stage1Data,
    model_params: "ModelParams",
    params: "PretrainParams",
    checkpoints: CheckpointStore | None = None,
    log: Callable[[dict[str, float], int], None] | None = None,
    hardware: Hardware = ONE_CPU,
) -> tuple[Encoder, list[dict[str, float]]]:
    """Build the encoder and pretrain it; returns it, on the CPU, with one record of losses per step. The records of
    evaluations have the held-out losses too, the last one the retrieval check on held-out items.

    With `recipe: none` it keeps its start: that is the paper's ILM-rand for a Q-Former, and all there is for others.
    """
    torch.manual_seed(params.seed)
    encoder = start_encoder(model_params, torch.from_numpy(data.item_factors), torch.from_numpy(data.user_factors))
    if params.recipe == "none":
        return encoder, []
    if not isinstance(encoder, QFormer):
        raise ConfigError(f"encoder {model_params.encoder} has no stage 1: pretrain.recipe must be none.")
    tokenizer = load_tokenizer(resolve(model_params.text_encoder))
    texts = tokenised(tokenizer, data.texts, params.max_text_tokens)
    pieces = texts.token_ids[texts.mask].unique().long()
    model = PretrainingModel(encoder, pieces, start_id=tokenizer.get_vocab()[START_PIECE]).to(hardware.device)
    stage = Stage1(model, data, texts, params, hardware)
    evaluation = stage.evaluation()
    optimizer = optimizer_for([(model, params.learning_rate)])
    schedule = Schedule(params.steps, params.warmup, params.checkpoint_every, params.gradient_accumulation)
    history = train("stage1", model, optimizer, stage.losses, schedule, checkpoints, log, hardware, evaluation)
    found = stage.retrieval()
    history[-1] |= found
    if log and found and hardware.is_main:
        log(found, int(history[-1]["step"]))
    return encoder.cpu(), history


def interaction_kinds(recipe: str) -> list[str]:
    """The interaction losses of a recipe, in the order in which they take turns."""
    return [kind for mark, kind in (("II", "item-item"), ("UI", "user-item")) if mark in recipe.split("-")]


def _trimmed(texts: TextBatch, rows: NDArray[np.int64]) -> TextBatch:
    """The given rows, without columns that are padding in all of them."""
    index = torch.from_numpy(rows)
    mask = texts.mask[index]
    length = int(mask.sum(dim=1).max())
    return TextBatch(texts.token_ids[index, :length].long(), mask[:, :length])
