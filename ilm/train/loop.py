"""The training loop of both stages: a step is a pure function of (model state, step number), so that a training that
was killed and resumed ends with the same bits as one that was not.

Whatever is random in a step comes from `step_generator(seed, step)` or from `epoch_batch`; nothing is drawn from a
state that would have to be saved, neither a generator's nor a sampler's, and the learning rate is a function of the
step. A checkpoint is therefore weights, optimizer moments and the history.

A step's batch may be cut into micro-batches (less memory) and shared by processes (`ilm.train.distributed`): losses
are shares that add up, so the step is the same however it is cut.
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

from ilm.errors import ArtifactError, TrainingDiverged
from ilm.model.shards import Shard
from ilm.train.checkpoint import CheckpointStore
from ilm.train.distributed import ONE_CPU, Hardware

LARGEST_GRADIENT = 1.0
"""Norm to which a larger gradient is clipped."""

Losses = dict[str, Tensor]
"""The value to minimise under "loss", and whatever else is worth a curve; shares that add up over a step's parts."""


@dataclass(frozen=True)
class Schedule:
    """Length of a training, its warm-up, how often its state is saved, and the micro-batches of a step."""

    steps: int
    warmup: int
    checkpoint_every: int
    micro_batches: int = 1

    def factor(self, step: int) -> float:
        """Learning-rate factor of a step (0-based): linear warm-up, then half a cosine to zero."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.5 * (1.0 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Evaluation:
    """Held-out values, taken whenever a checkpoint is; with patience, they may end the training.

    Attributes:
        measure: the values, without gradient; the same in every process up to rounding.
        metric: name of the value to minimise.
        patience: evaluations in a row without a new minimum after which training ends, and the weights of the best
            one are kept; 0 trains all steps and keeps the last weights.
    """

    measure: Callable[[], Losses]
    metric: str
    patience: int

    def best_is_last(self, history: list[dict[str, float]]) -> bool:
        """Whether the latest evaluation is the best so far, with patience; a tie is no improvement."""
        return self.patience > 0 and self._since_best(history) == 0

    def is_over(self, history: list[dict[str, float]]) -> bool:
        """Whether patience has run out: a function of the history, so a resumed training stops where it would have."""
        return 0 < self.patience <= self._since_best(history)

    def _since_best(self, history: list[dict[str, float]]) -> int:
        values = [record[self.metric] for record in history if self.metric in record]
        return len(values) - 1 - values.index(min(values)) if values else -1


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
    return torch.optim.AdamW(groups, fused=True)  # a third of the time, on the CPU too


def train(
    name: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    step_losses: Callable[[int, Shard], Losses],
    schedule: Schedule,
    checkpoints: CheckpointStore | None = None,
    log: Callable[[dict[str, float], int], None] | None = None,
    hardware: Hardware = ONE_CPU,
    evaluation: Evaluation | None = None,
) -> list[dict[str, float]]:
    """Train in place, from the latest checkpoint on if there is one. Bit for bit repeatable on the CPU.

    Args:
        name: shown beside the progress bar.
        step_losses: this process's share of a micro-batch's losses, given the step's number and the micro-batch; must
            draw nothing from global random state, and name the same losses in all parts of a step.
        log: called by the main process with the values of every step and its number.
        checkpoints: written by the main process, read by all: with several machines, on a file system they share.

    Returns:
        One record per step, from the first: {"step": …, "loss": …, …}.

    Raises:
        ArtifactError: the checkpoint is damaged, or not all processes see the same one.
        TrainingDiverged: a loss or the gradient is not finite; in all processes alike.
    """
    torch.use_deterministic_algorithms(hardware.device.type == "cpu")
    # Filling memory before its first use guards against operators that read it; none here does, and it costs 2 %.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    done, history, best = checkpoints.load(model, optimizer) if checkpoints else (0, [], None)
    _require_agreement(name, done, hardware)
    model.train()
    quiet = not hardware.is_main or not sys.stderr.isatty()
    bar = tqdm(range(done, schedule.steps), name, schedule.steps, initial=done, unit="step", disable=quiet)
    for step in bar:
        if evaluation and evaluation.is_over(history):
            break
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * schedule.factor(step)
        optimizer.zero_grad(set_to_none=True)
        values = _backward(step, step_losses, schedule.micro_batches, parameters, hardware)
        values["gradient_norm"] = float(nn.utils.clip_grad_norm_(parameters, LARGEST_GRADIENT))
        _require_finite(name, values, step)
        optimizer.step()
        at_checkpoint = (step + 1) % schedule.checkpoint_every == 0 or step + 1 == schedule.steps
        if evaluation and at_checkpoint:
            values |= _measured(model, evaluation, hardware)
            _require_finite(name, values, step)
        history.append({"step": step, **values})
        if evaluation and at_checkpoint and evaluation.best_is_last(history):
            best = {key: tensor.detach().cpu().clone() for key, tensor in model.state_dict().items()}
        bar.set_postfix({key: f"{value:.3f}" for key, value in values.items()}, refresh=False)
        if log and hardware.is_main:
            log(values, step)
        if checkpoints and at_checkpoint and hardware.is_main:
            checkpoints.save(step + 1, model, optimizer, history, best)
    if best is not None:
        model.load_state_dict(best, strict=True)
    model.eval()
    return history


def _backward(
    step: int,
    step_losses: Callable[[int, Shard], Losses],
    micro_batches: int,
    parameters: list[nn.Parameter],
    hardware: Hardware,
) -> dict[str, float]:
    """Leave the whole batch's gradient in the parameters; returns the whole batch's losses."""
    totals: Losses = {}
    for index in range(micro_batches):
        with hardware.autocast():
            losses = step_losses(step, Shard(index, micro_batches))
        losses["loss"].backward()
        for key, value in losses.items():
            totals[key] = totals.get(key, 0.0) + value.detach()
    summed = hardware.add_up(parameters, torch.stack(list(totals.values())))
    return dict(zip(totals, summed.tolist(), strict=True))


def _measured(model: nn.Module, evaluation: Evaluation, hardware: Hardware) -> dict[str, float]:
    """Held-out values, averaged over the processes: all of them must come to the same decision."""
    model.eval()
    with torch.no_grad(), hardware.autocast():
        values = evaluation.measure()
    model.train()
    mean = hardware.add_up([], torch.stack(list(values.values())) / hardware.shard.count)
    return dict(zip(values, mean.tolist(), strict=True))


def _require_agreement(name: str, done: int, hardware: Hardware) -> None:
    """All processes must go on from the same step: those that see another checkpoint would train something else."""
    mine = torch.zeros(hardware.shard.count, device=hardware.device)
    mine[hardware.shard.index] = done
    steps = [int(step) for step in hardware.add_up([], mine).tolist()]
    if len(set(steps)) > 1:
        raise ArtifactError(
            f"{name}: checkpoints of {' / '.join(map(str, steps))} steps were found by the processes. All must see the "
            "same folder of checkpoints: put it on a file system that the machines share."
        )


def _require_finite(name: str, values: dict[str, float], step: int) -> None:
    wrong = {key: value for key, value in values.items() if not math.isfinite(value)}
    if wrong:
        described = ", ".join(f"{key} {value}" for key, value in wrong.items())
        raise TrainingDiverged(
            f"{name}: {described} at step {step}. "
            "Lower the learning rate of this step in params.yaml, or lengthen its warm-up."
        )


def step_generator(seed: int, step: int) -> torch.Generator:
    """Randomness of one step, the same whether or not the training was interrupted before it."""
    return torch.Generator().manual_seed((seed << 32) + step)


def epoch_batch(count: int, batch_size: int, step: int, seed: int) -> NDArray[np.int64]:
    """Row numbers [batch_size] of batch `step` when all `count` rows are shuffled anew in each epoch."""
    rows = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = np.unique(rows // count)
    orders = {int(epoch): np.random.default_rng([seed, int(epoch)]).permutation(count) for epoch in epochs}
    return np.array([orders[int(row // count)][row % count] for row in rows])
