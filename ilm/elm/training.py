"""How a model learns the tasks: encoder and adapter before the frozen language model, on the teacher's texts of items
that are not held out (ILM's phase 2, on these tasks alone)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ilm.elm.references import References
from ilm.elm.speaker import Speaker
from ilm.errors import DataError
from ilm.model.bridge import Bridge
from ilm.model.shards import Shard
from ilm.train.checkpoint import CheckpointStore
from ilm.train.distributed import ONE_CPU, Hardware
from ilm.train.loop import Losses, Schedule, epoch_batch, optimizer_for, train

if TYPE_CHECKING:
    from ilm.params import ElmParams


class AnswerSteps:
    """The loss of this training, one step at a time: nats per token of the answers."""

    def __init__(self, speaker: Speaker, references: References, params: "ElmParams", hardware: Hardware) -> None:
        self.speaker, self.references, self.params, self.hardware = speaker, references, params, hardware

    def losses(self, step: int, micro: Shard) -> Losses:
        """This part's share of the loss of one step: shares add up to the mean over the whole batch's tokens."""
        rows = epoch_batch(len(self.references.texts), self.params.batch_size, step, self.params.seed)
        part = self.hardware.shard.within(micro)
        requests, texts = (
            [column[row] for row in rows] for column in (self.references.requests, self.references.texts)
        )
        whole = self.speaker.read(requests, texts)
        own = part.rows(len(rows))
        rendered = whole if part.count == 1 else self.speaker.read(requests[own], texts[own])
        nats, _ = self.speaker.nats(rendered)
        return {"loss": nats.sum() / int(whole.spoken.sum())}


def learn_answers(
    speaker: Speaker,
    references: References,
    params: "ElmParams",
    checkpoints: CheckpointStore | None = None,
    log: Callable[[dict[str, float], int], None] | None = None,
    hardware: Hardware = ONE_CPU,
) -> list[dict[str, float]]:
    """Train the speaker's model in place, on `hardware.device`; returns one record of losses per step.

    A model without soft tokens (the encoder `text`) has nothing that could learn, and is left as it is.

    Raises:
        DataError: a text to learn from is about a held-out item.
        TrainingDiverged: a loss or gradient is not finite.
    """
    model: Bridge = speaker.model
    if any(request.held_out for request in references.requests):
        raise DataError("ELM-24: held-out texts are not to be learned from. Hand over the training part.")
    if not model.adapter.soft_tokens:
        return []
    model.encoder.requires_grad_(params.encoder_learning_rate > 0)
    optimizer = optimizer_for([(model.encoder, params.encoder_learning_rate), (model.adapter, params.learning_rate)])
    schedule = Schedule(params.steps, params.warmup, params.checkpoint_every, params.gradient_accumulation)
    stage = AnswerSteps(speaker, references, params, hardware)
    return train("elm", model, optimizer, stage.losses, schedule, checkpoints, log, hardware)
