"""A training step of stage 2, against the bare language model's forward and backward to its inputs on the same tokens.

The step is the training loop's own, from the drawing of the batch to AdamW. The floor is what no implementation with
this language model can do without; for answers in words it has the vocabulary projection at their positions, too.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from benchmarks.timing import Result, interleaved
from benchmarks.trie_beams import made_up_titles
from benchmarks.untrained import CF_WIDTH, untrained
from ilm.cf.fold_in import UserFoldIn
from ilm.model.bridge import Bridge
from ilm.params import FinetuneParams
from ilm.prompts.attributes import attributes
from ilm.prompts.material import Choices, Histories, Material
from ilm.prompts.rendering import Rendered
from ilm.train.loop import LARGEST_GRADIENT, Schedule, optimizer_for, train
from ilm.train.stage2 import Stage2, Stage2Data

STEP = 1
"""The step that is repeated; step 0 encodes the catalogue."""
TEMPLATE_TOKENS = 10
"""Tokens of a sequential prompt that are no items, at most."""
MICRO_BATCHES = (1, 4)
"""Into which the step is cut whose memory is measured (`finetune.gradient_accumulation`)."""


def run(
    llm: str = "smollm2-135m-instruct",
    items: int = 3500,
    users: int = 200,
    history: int = 20,
    repetitions: int = 9,
    memory_prompts: int = 16,
    memory_tokens: int = 128,
) -> Result:
    """Seconds of a step on a sequential batch of the default size / seconds of the floor.

    `detail` has the parts of that step, and the encoding of the catalogue before the first; the same ratio for a batch
    that is answered with titles; and the memory of processes that do a step of `memory_prompts` prompts of
    `memory_tokens` tokens, whole or in micro-batches.
    """
    model, params = untrained(llm, items, history)[0], FinetuneParams()
    data = made_up(items, users, history)
    trials = {task: Trial(model, data, params, task) for task in ("sequential", "title")}
    detail: dict[str, Any] = {"llm": llm, "items": items, "threads": torch.get_num_threads()}
    for task, trial in trials.items():
        contestants: dict[str, Callable[[], object]] = {"step": trial.step, "floor": trial.floor}
        if task == "sequential":
            contestants |= {
                "batch": trial.batch, "soft tokens": trial.soft_tokens, "batch and head": trial.batch_and_head,
                "optimizer": trial.update, "encode catalogue": trial.encode_catalogue,
            }  # fmt: skip
        seconds = interleaved(contestants, repetitions)
        detail[task] = {"ratio": seconds["step"] / seconds["floor"], "seconds": seconds, "batch": trial.sizes()}
    if memory_prompts:
        detail["memory"] = [
            _memory_of_another_process(llm, items, memory_prompts, memory_tokens, micro_batches)
            for micro_batches in MICRO_BATCHES
        ]
    return {"name": "stage2_step", "ratio": detail["sequential"]["ratio"], "goal": "<= 1.15", "detail": detail}


class ReadyStates(Stage2):
    """Stage 2 with the language model's states given."""

    ready: tuple[Tensor, Tensor]

    def states(self, rendered: Rendered, blind: bool = False) -> tuple[Tensor, Tensor]:
        """What is given."""
        return self.ready


class Trial:
    """One batch of one task: a whole step, its floor, its parts."""

    def __init__(self, model: Bridge, data: Stage2Data, params: FinetuneParams, task: str) -> None:
        params = params.model_copy(update={"mixture": {task: 1.0}})
        model.encoder.requires_grad_(params.encoder_learning_rate > 0)
        model.head.keep_items()
        self.model, self.stage, self.head = model, Stage2(model, data, params), ReadyStates(model, data, params)
        self.optimizer = optimizer_for([(model, params.learning_rate)], params.weight_decay)
        self.encode_catalogue()
        self.rendered = self.batch()
        with torch.no_grad():
            self.embeddings = self._embeddings()
            states, user_queries = self.stage.states(self.rendered)
        self.head.ready = states.requires_grad_(), user_queries
        self.batch_and_head()

    def sizes(self) -> dict[str, int]:
        """Of the batch."""
        prompts = self.rendered.prompts
        return {
            "prompts": len(prompts.mask), "tokens": int(prompts.mask.sum()), "with_padding": prompts.mask.numel(),
            "items_shown": len(prompts.items), "different_items": len(prompts.items.unique()),
        }  # fmt: skip

    def step(self) -> None:
        """A step of the training loop; its users are folded in, as in the first epoch."""
        self.stage.mixture.users.clear()
        schedule = Schedule(steps=1, warmup=30, checkpoint_every=2)
        train("step", self.model, self.optimizer, lambda _, micro: self.stage.losses(STEP, micro), schedule)

    def floor(self) -> None:
        """Forward of ready inputs and backward of the gradient that the step's losses send to the states."""
        torch.use_deterministic_algorithms(False)
        inputs, language_model = self.embeddings.clone().requires_grad_(), self.model.language_model
        states = language_model.hidden_states(inputs, self.rendered.prompts.mask)
        outputs, gradients = [states], [self.head.ready[0].grad]
        if self.rendered.spoken.any():
            outputs.append(language_model.logits(states[self.rendered.spoken]))
            gradients.append(torch.full_like(outputs[-1], 1e-6))
        torch.autograd.backward(outputs, gradients)

    def batch(self) -> Rendered:
        """Draw and render the batch."""
        self.stage.mixture.users.clear()
        return self.stage.mixture.render(self.stage.mixture.batch(STEP)[1])

    def soft_tokens(self) -> None:
        """Soft tokens of the batch among its words, and back."""
        embeddings = self._embeddings()
        embeddings.backward(torch.full_like(embeddings, 1e-3))

    def batch_and_head(self) -> None:
        """The batch, its losses by ready states, and back to the states."""
        self.head.mixture.users.clear()
        self.head.ready[0].grad = None
        self.head.losses(STEP)["loss"].backward()

    def update(self) -> None:
        """Clip the gradient and let AdamW make its step."""
        nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()

    def encode_catalogue(self) -> None:
        """The copy of all items' encodings, made once."""
        self.stage.item_queries = self.head.item_queries = self.model.encode_all(self.stage.item_factors)

    def _embeddings(self) -> Tensor:
        model, prompts = self.model, self.rendered.prompts
        shown, place = prompts.items.unique(return_inverse=True)
        items = model.adapter(self.stage.encoded(shown))[place]
        return model.embed(prompts, items, model.adapter(model.encoder.encode(prompts.users, users=True)))


def memory(llm: str, items: int, prompts: int, tokens: int, micro_batches: int) -> dict[str, float]:
    """Peak MiB of this process before and after two steps on `prompts` sequential prompts of about `tokens` tokens."""
    from tasks.process import peak_memory_mb

    history = tokens - TEMPLATE_TOKENS
    model, data = untrained(llm, items, history)[0], made_up(items, 8 * prompts, history)
    stage = Stage2(model, data, FinetuneParams(step_tokens=prompts * tokens, mixture={"sequential": 1.0}))
    loaded = peak_memory_mb()
    train("step", model, optimizer_for([(model, 1e-3)]), stage.losses, Schedule(2, 30, 2, micro_batches))
    rendered = stage.mixture.render(stage.mixture.batch(STEP)[1])
    shape = {"prompts": len(rendered.prompts.mask), "longest": rendered.prompts.mask.shape[1]}
    return shape | {"micro_batches": micro_batches, "loaded_mb": loaded, "peak_mb": peak_memory_mb()}


def _memory_of_another_process(*arguments: str | int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.stage2_step", *map(str, arguments)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    measured: dict[str, float] = json.loads(out)
    return measured


def made_up(items: int, users: int, history: int) -> Stage2Data:
    """Random histories of `history` items with a long tail: of 320 items, 265 differ; in MovieLens 270 do."""
    rng = np.random.default_rng(1)
    weights = 1.0 / (np.arange(items) + 30.0)
    drawn = rng.choice(items, (users, history + 1), p=weights / weights.sum()).astype(np.int32)
    choices = Choices(Histories.of(list(drawn[:, :-1])), drawn[:, -1])
    vectors = rng.normal(size=(items, CF_WIDTH)).astype(np.float32)
    catalogue = pa.table({"item_index": range(items), "title": made_up_titles(items), "active": [True] * items})
    material = Material(
        attributes(catalogue), vectors, np.bincount(drawn.ravel(), minlength=items), {"sequential": choices},
        np.arange(items), np.ones(items, bool), history,
    )  # fmt: skip
    return Stage2Data(material, material, UserFoldIn(vectors, regularization=0.05, alpha=10.0))


if __name__ == "__main__":
    print(json.dumps(memory(sys.argv[1], *map(int, sys.argv[2:]))))
