"""Training of SASRec with full cross-entropy over the catalogue at every position (arXiv 2309.07602): what makes it as
good as its successors. The original's loss, one sampled negative per position, loses a fifth of the hit rate.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ilm.baselines.histories import flat
from ilm.baselines.sasrec import SasRec, SasRecSizes, windows
from ilm.errors import ConfigError, DataError
from ilm.model.shards import Shard
from ilm.train.checkpoint import CheckpointStore
from ilm.train.distributed import ONE_CPU, Hardware
from ilm.train.loop import Evaluation, Losses, Schedule, epoch_batch, optimizer_for, step_generator, train

SCORES_AT_ONCE = 2**26
"""Positions x items of a micro-batch: with logarithms and gradient, three tables of 0.27 GB in float32."""
HELD_OUT_BATCH = 256
HELD_OUT_LOSS = "held_out_loss"
"""The metric of early stopping: mean cross-entropy of the held-out targets."""


@dataclass(frozen=True)
class SasRecTraining:
    """How a SASRec is trained: section `sasrec` of the settings, and a seed."""

    sizes: SasRecSizes = field(default_factory=SasRecSizes)
    epochs: int = 100
    """At most; every position of the train part is asked for once in each."""
    batch_size: int = 32
    """Windows of at most `max_length` positions per step."""
    learning_rate: float = 1e-3
    warmup: int = 100
    """Steps."""
    weight_decay: float = 0.01
    check_every: int = 1
    """Epochs between checks against the held-out targets, which are when a checkpoint is written."""
    patience: int = 10
    """Checks without a better one after which training ends, and the best weights are kept; 0 trains all epochs."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ConfigError where nothing would be trained."""
        if min(self.epochs, self.batch_size, self.check_every) < 1:
            raise ConfigError(f"sasrec: {self}: epochs, batch_size and check_every must be at least 1.")


def training_of(settings: Mapping[str, Any], seed: int) -> SasRecTraining:
    """From section `sasrec`, as plain values.

    Raises:
        ConfigError: no network has these sizes, or the settings are of another version.
    """
    of_network = {field.name for field in fields(SasRecSizes)}
    of_training = {field.name for field in fields(SasRecTraining)} - {"sizes", "seed"}
    if wrong := sorted(settings.keys() ^ (of_network | of_training)):
        raise ConfigError(f"sasrec: settings of another version ({', '.join(wrong)}). Run `ilm export-features` again.")
    sizes = SasRecSizes(**{name: settings[name] for name in of_network})
    return SasRecTraining(sizes, **{name: settings[name] for name in of_training}, seed=seed)


@dataclass(frozen=True)
class HeldOut:
    """What tells when to stop: the valid part."""

    histories: Sequence[NDArray[np.int32]]
    """Everything a user did before the target, oldest first."""
    targets: NDArray[np.int32]
    """[m]."""


class SasRecSteps:
    """The loss of training, one step at a time, and on what is held out."""

    def __init__(
        self,
        model: SasRec,
        train_histories: Sequence[NDArray[np.int32]],
        held_out: HeldOut,
        training: SasRecTraining,
        hardware: Hardware = ONE_CPU,
    ) -> None:
        self.model, self.held_out, self.training, self.hardware = model, held_out, training, hardware
        self.items, bounds = flat(train_histories, model.item_embedding.num_embeddings)
        self.starts, self.lengths = cut(bounds, model.sizes.max_length)
        if not len(self.starts):
            raise DataError("sasrec: no user has two items in the train part. Check the split (sequences.parquet).")
        if not len(held_out.targets):
            raise DataError("sasrec: nobody has a target in the valid part, so nothing tells when to stop training.")

    def losses(self, step: int, micro: Shard) -> Losses:
        """This part's share of the loss of one step: the mean cross-entropy of the item after each position."""
        rows = epoch_batch(len(self.starts), self.training.batch_size, step, self.training.seed)
        part = self.hardware.shard.within(micro)
        own = rows[part.rows(len(rows))]
        starts, lengths = self.starts[own], self.lengths[own]
        shown, following, ends = (
            tensor.to(self.hardware.device)
            for tensor in (
                windows(self.items, starts, lengths),
                windows(self.items, starts + 1, lengths),
                torch.from_numpy(lengths),
            )
        )
        with self._dropout_of(step, part):
            states = self.model(shown, ends)
        inside = torch.arange(shown.shape[1], device=ends.device) < ends[:, None]
        scores = states[inside] @ self.model.item_embedding.weight.T
        total = int(self.lengths[rows].sum())
        return {"loss": F.cross_entropy(scores.float(), following[inside], reduction="sum") / total}

    def measure(self) -> Losses:
        """Mean cross-entropy of the held-out targets, and their HR@10 and NDCG@10, the user's known items removed."""
        loss, hits, gain = torch.zeros(3)
        for start in range(0, len(self.held_out.targets), HELD_OUT_BATCH):
            histories = self.held_out.histories[start : start + HELD_OUT_BATCH]
            targets = torch.from_numpy(self.held_out.targets[start : start + HELD_OUT_BATCH]).long()
            scores = torch.from_numpy(self.model.score("", histories))
            loss += F.cross_entropy(scores, targets, reduction="sum")
            items, bounds = flat(histories, scores.shape[1])
            of_target = scores.gather(1, targets[:, None])
            scores[np.repeat(np.arange(len(histories)), np.diff(bounds)), items] = -torch.inf
            ranks = 1 + (scores > of_target).sum(dim=1)
            hits += (ranks <= 10).sum()
            gain += (1.0 / torch.log2(1.0 + ranks[ranks <= 10])).sum()
        mean = torch.stack([loss, hits, gain]).to(self.hardware.device) / len(self.held_out.targets)
        return {HELD_OUT_LOSS: mean[0], "held_out_hr_at_10": mean[1], "held_out_ndcg_at_10": mean[2]}

    def schedule(self) -> Schedule:
        """Steps in which all windows have their turns; micro-batches small enough for their scores."""
        training, n_items = self.training, self.model.item_embedding.num_embeddings
        steps_per_epoch = math.ceil(len(self.starts) / training.batch_size)
        own = max(1, training.batch_size // self.hardware.shard.count)
        scores = own * int(self.lengths.max()) * n_items
        cuts = [parts for parts in range(1, own + 1) if own % parts == 0]
        return Schedule(
            steps=training.epochs * steps_per_epoch,
            warmup=training.warmup,
            checkpoint_every=training.check_every * steps_per_epoch,
            micro_batches=next((parts for parts in cuts if scores <= parts * SCORES_AT_ONCE), own),
        )

    @contextmanager
    def _dropout_of(self, step: int, part: Shard) -> Iterator[None]:
        """Dropout draws from torch's global generators: lend them a seed that is the step's and the part's own."""
        seeds = torch.randint(2**62, (part.count,), generator=step_generator(self.training.seed, step))
        device = self.hardware.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(int(seeds[part.index]))
            yield


def train_sasrec(
    train_histories: Sequence[NDArray[np.int32]],
    held_out: HeldOut,
    n_items: int,
    training: SasRecTraining,
    checkpoints: CheckpointStore | None = None,
    log: Callable[[dict[str, float], int], None] | None = None,
    hardware: Hardware = ONE_CPU,
) -> tuple[SasRec, list[dict[str, float]]]:
    """Train on the train part; returns the model of the best check, on the CPU, and one record of losses per step.

    Args:
        train_histories: the items of each user in the train part, oldest first.
        held_out: of the valid part.
        n_items: in the catalogue.
        training: sizes and how to train.
        checkpoints: to go on from if an earlier run was cut short.
        log: called with every step's values and its number.
        hardware: where to train.

    Raises:
        DataError: nothing to learn from, nothing held out, or an item_index outside the catalogue.
        TrainingDiverged: a loss or the gradient is not finite.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(training.seed)
        model = SasRec(n_items, training.sizes)
    steps = SasRecSteps(model.to(hardware.device), train_histories, held_out, training, hardware)
    optimizer = optimizer_for([(model, training.learning_rate)], training.weight_decay)
    evaluation = Evaluation(steps.measure, HELD_OUT_LOSS, training.patience)
    schedule = steps.schedule()
    history = train("sasrec", model, optimizer, steps.losses, schedule, checkpoints, log, hardware, evaluation)
    return model.cpu(), history


def cut(bounds: NDArray[np.int64], max_length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts and lengths [m] of windows of positions, each to be asked for the item after it.

    User u has the items from bounds[u] to bounds[u + 1]; the last item has none after it. Windows are cut from the end
    of a user's sequence on, so that only the oldest one may be shorter; together they have every position once.
    """
    first, positions = bounds[:-1], np.maximum(np.diff(bounds) - 1, 0)
    counts = -(-positions // max_length)
    user = np.repeat(np.arange(len(counts)), counts)
    nth = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)  # from a user's end on
    ends = (first + positions)[user] - nth * max_length
    starts = np.maximum(first[user], ends - max_length)
    return starts, ends - starts
