"""How much memory stage 2 will take, told before anything is trained: too little would be an end by the kernel.

The estimate is of what grows with the language model, the batch and the catalogue; activations are counted as autograd
keeps them for a frozen decoder (only gradients of inputs are needed, so no input of a frozen matrix is kept).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ilm.errors import ArtifactError, ConfigError
from ilm.free_memory import free_memory
from ilm.model.builtin import resolve
from ilm.model.head import HEAD_WIDTH
from ilm.model.quantisation import BYTES_PER_WEIGHT, NF4
from ilm.train.distributed import PRECISIONS

GIB = 2**30
PROGRAM = int(0.8 * GIB)
"""Python, torch, transformers, the encoder and the tables."""
ADAM = 16
"""Bytes per trained number: itself, its gradient and two moments, in float32."""
SPARE = 0.1
"""Share of the memory at hand that is left for what else runs."""


@dataclass(frozen=True)
class Shape:
    """What a language model's files say of its sizes."""

    layers: int
    width: int
    inner: int
    """Width of the feed-forward layers."""
    vocabulary: int
    weights: int
    """All of them."""
    quantisable: int
    """Of these, in the matrices of the layers: not the word embeddings, nor the output layer."""


@dataclass(frozen=True)
class Need:
    """Bytes that stage 2 takes at its peak, by what takes them."""

    weights: int
    activations: int
    """Of the language model."""
    scores: int
    """Of words and items, and their gradients."""
    trained: int
    """What learns, with its optimizer."""

    @property
    def total(self) -> int:
        """All of it, and the program itself."""
        return self.weights + self.activations + self.scores + self.trained + PROGRAM


def require_memory(
    model: Mapping[str, Any],
    finetuning: Mapping[str, Any] | None = None,
    max_history: int = 0,
    items: int = 0,
    shares: int = 1,
    processes: int = 1,
) -> None:
    """Refuse a training that does not fit the memory at hand (of the GPU, if there is one).

    Args:
        model: the settings of section `model`.
        finetuning: the settings of section `finetune`; None, before stage 1, asks whether the weights alone fit.
        max_history: items of a history that are shown one by one.
        items: size of the catalogue.
        shares: processes over which the language model's layers are spread.
        processes: of the training.

    Raises:
        ConfigError: saying what is needed, what there is, and which settings need less.
        ArtifactError: the language model is not there, or its files say nothing of its sizes.
    """
    free = memory_at_hand()
    shape = read_shape(resolve(model["llm"]))
    need = estimate(shape, model, finetuning, max_history, items, shares)
    if free is None or need.total <= (1 - SPARE) * free:
        return
    changes: dict[str, tuple[Mapping[str, Any], Mapping[str, Any] | None, int]] = {
        "model.precision: bf16": ({**model, "precision": "bf16"}, finetuning, shares),
    }
    if shares == 1:
        changes["model.quantisation: nf4"] = ({**model, "quantisation": NF4}, finetuning, 1)
    if model["quantisation"] != NF4:
        changes["train.language_model: sharded"] = (model, finetuning, processes)
    if finetuning is not None:
        micro = 4 * finetuning["gradient_accumulation"]
        smaller = {**finetuning, "gradient_accumulation": micro}
        changes[f"finetune.gradient_accumulation: {micro}"] = (model, smaller, shares)
    less = {
        name: estimate(shape, changed, lighter, max_history, items, parts).total
        for name, (changed, lighter, parts) in changes.items()
    }
    told = "; ".join(f"{name} ({_gib(total)})" for name, total in less.items() if total < need.total)
    each = " in each process" if processes > 1 else ""
    raise ConfigError(
        f"stage 2 with {model['llm']} needs about {_gib(need.total)} of memory{each}, and {_gib(free)} are free: "
        f"{_gib(need.weights)} for {shape.weights / 1e6:,.0f} million weights ({model['precision']}, quantisation "
        f"{model['quantisation']}), {_gib(need.activations)} for activations, {_gib(need.scores)} for scores, "
        f"{_gib(need.trained)} for what learns. Free some, name a smaller model, or change in params.yaml: {told}."
    )


def estimate(
    shape: Shape,
    model: Mapping[str, Any],
    finetuning: Mapping[str, Any] | None,
    max_history: int,
    items: int,
    shares: int = 1,
) -> Need:
    """What stage 2 will take in each process; arguments as of `require_memory`."""
    number = PRECISIONS[model["precision"]].itemsize
    quantised = shape.quantisable if model["quantisation"] == NF4 else 0
    weights = quantised * BYTES_PER_WEIGHT + (shape.weights - quantised) * number
    if shares > 1:  # two layers are whole at a time: the one at work, and the next
        weights -= shape.quantisable * number * (1 - 1 / shares) * max(0.0, 1 - 2 / shape.layers)
    if finetuning is None:
        return Need(int(weights), 0, 0, 0)
    tokens = finetuning["step_tokens"] / finetuning["gradient_accumulation"]
    per_token = shape.layers * (8 * shape.width + 3 * shape.inner) + 4 * shape.inner
    words = tokens / 2 * shape.vocabulary  # of a batch that mostly speaks
    places = finetuning["context_batch_size"] * max_history / finetuning["gradient_accumulation"]
    scores = 4 * 3 * max(words, places * items)
    trained = ADAM * items * HEAD_WIDTH
    return Need(int(weights), int(tokens * per_token * number), int(scores), trained)


def read_shape(folder: Path) -> Shape:
    """Sizes of a language model, from its config.json and the headers of its weight files.

    Raises:
        ArtifactError: they do not say.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = config.get("text_config", config)
        width = config.get("hidden_size") or config["n_embd"]
        counts: dict[str, tuple[int, bool]] = {}
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118  not a dict
                    sizes = tensors.get_slice(name).get_shape()
                    in_layer = len(sizes) == 2 and config["vocab_size"] not in sizes
                    counts[name] = (int(torch.Size(sizes).numel()), in_layer)
        return Shape(
            config.get("num_hidden_layers") or config["n_layer"],
            width,
            config.get("intermediate_size") or config.get("n_inner") or 4 * width,
            config["vocab_size"],
            sum(count for count, _ in counts.values()),
            sum(count for count, in_layer in counts.values() if in_layer),
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ArtifactError(f"{folder}: its sizes cannot be read ({error}). Is it a whole language model?") from None


def memory_at_hand() -> int | None:
    """Free bytes of this process's GPU, if there is one; else of this machine, or of what its container may use, in
    equal parts for the processes that `torchrun` started here; None: unknown."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    free = free_memory()
    return None if free is None else free // int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def _gib(count: float) -> str:
    return f"{count / GIB:.1f} GiB"
