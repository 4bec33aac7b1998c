"""The training loop of both stages: a step is a pure function of (model state, step number), so that a training that
was killed and resumed ends with the same bits as one that was not.

Whatever is random in a step comes from `step_generator(seed, step)` or from `epoch_batch`; nothing is drawn from a
state that would have to be saved.
"""

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from ilm.errors import TrainingDiverged
from ilm.train.checkpoint import CheckpointStore

LARGEST_GRADIENT = 1.0
"""Norm to which a larger gradient is clipped."""

Losses = dict[str, Tensor]
"""The value to minimise under "loss", and whatever else is worth a curve."""


@dataclass(frozen=True)
class Schedule:
    """Length of a training, its warm-up, and how often its state is saved."""

    steps: int
    warmup: int
    checkpoint_every: int

    def factor(self, step: int) -> float:
        """Learning-rate factor of a step (0-based): linear warm-up, then half a cosine to zero."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.5 * (1.0 + math.cos(math.pi * progress))


def optimizer_for(parts: Iterable[tuple[nn.Module, float]], weight_decay: float = 0.01) -> torch.optim.AdamW:
    """AdamW over the trainable parameters of `(module, learning rate)` parts; biases and norms are not decayed."""
    groups = []
    for module, learning_rate in parts:
        trainable = [p for p in module.parameters() if p.requires_grad]
        for decay, parameters in (
            (weight_decay, [p for p in trainable if p.ndim > 1]),
            (0.0, [p for p in trainable if p.ndim <= 1]),
        ):
            groups.append({"params": parameters, "lr": learning_rate, "base_lr": learning_rate, "weight_decay": decay})
    return torch.optim.AdamW(groups)


def train(
    name: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    step_losses: Callable[[int], Losses],
    schedule: Schedule,
    checkpoints: CheckpointStore | None = None,
    log: Callable[[dict[str, float], int], None] | None = None,
) -> list[dict[str, float]]:
    """Train in place, from the latest checkpoint on if there is one.

    Args:
        name: shown beside the progress bar.
        step_losses: losses of one step, given its number; must draw nothing from global random state.
        log: called with the values of every step and its number.

    Returns:
        One record per step, from the first: {"step": …, "loss": …, …}.

    Raises:
        TrainingDiverged: a loss or the gradient is not finite.
    """
    torch.use_deterministic_algorithms(True)
    done, history = checkpoints.load(model, optimizer) if checkpoints else (0, [])
    model.train()
    bar = tqdm(
        range(done, schedule.steps), name, schedule.steps, initial=done, unit="step", disable=not sys.stderr.isatty()
    )
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * schedule.factor(step)
        losses = step_losses(step)
        optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        values = {key: float(value.detach()) for key, value in losses.items()} | {"gradient_norm": float(norm)}
        if not math.isfinite(values["loss"]) or not math.isfinite(values["gradient_norm"]):
            raise TrainingDiverged(
                f"{name}: loss {values['loss']}, gradient norm {values['gradient_norm']} at step {step}. "
                "Lower the learning rate of this step in params.yaml, or lengthen its warm-up."
            )
        optimizer.step()
        history.append({"step": step, **values})
        bar.set_postfix({key: f"{value:.3f}" for key, value in values.items()}, refresh=False)
        if log:
            log(values, step)
        if checkpoints and ((step + 1) % schedule.checkpoint_every == 0 or step + 1 == schedule.steps):
            checkpoints.save(step + 1, model, optimizer, history)
    model.eval()
    return history


def step_generator(seed: int, step: int) -> torch.Generator:
    """Randomness of one step, the same whether or not the training was interrupted before it."""
    return torch.Generator().manual_seed((seed << 32) + step)


def epoch_batch(count: int, batch_size: int, step: int, seed: int) -> NDArray[np.int64]:
    """Row numbers [batch_size] of batch `step` when all `count` rows are shuffled anew in each epoch."""
    rows = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = np.unique(rows // count)
    orders = {int(epoch): np.random.default_rng([seed, int(epoch)]).permutation(count) for epoch in epochs}
    return np.array([orders[int(row // count)][row % count] for row in rows])
