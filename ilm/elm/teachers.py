"""Who writes the reference texts: a language model on this machine, or one behind an endpoint (`ilm.elm.endpoint`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ilm.elm.answers import whole_sentences
from ilm.elm.endpoint import EndpointTeacher
from ilm.elm.greedy import answer_greedily
from ilm.model.language_model import LanguageModel, load_language_model
from ilm.train.distributed import find_hardware

if TYPE_CHECKING:
    from ilm.params import ElmParams

BATCH = 8
"""Questions that a teacher on this machine answers at once."""


class Teacher(Protocol):
    """Answers questions in plain words."""

    @property
    def identity(self) -> dict[str, str | int]:
        """What its answers depend on, for the card of the references; no secrets."""

    def answer(self, questions: Sequence[str]) -> list[str]:
        """One answer per question, "" where there is none; an answer that was cut off ends with a whole sentence."""


@dataclass(frozen=True)
class LocalTeacher:
    """A language model on this machine, decoding greedily: equal questions, equal answers."""

    language_model: LanguageModel
    max_tokens: int

    @property
    def identity(self) -> dict[str, str | int]:
        """Name and hash of the weights."""
        model = self.language_model
        return {"teacher": "local", "model": model.name, "sha256": model.sha256, "max_tokens": self.max_tokens}

    def answer(self, questions: Sequence[str]) -> list[str]:
        """As `Teacher`."""
        answers = []
        for start in range(0, len(questions), BATCH):
            batch = questions[start : start + BATCH]
            for text, whole in answer_greedily(self.language_model, batch, self.max_tokens):
                answers.append(text if whole else whole_sentences(text))
        return answers


def start_teacher(params: "ElmParams", precision: str) -> Teacher:
    """The teacher `local`, on the GPU if there is one and in this precision, or `endpoint`.

    Raises:
        ArtifactError: the language model is not found.
        ConfigError: an endpoint's client is not installed, or its key is not set.
    """
    if params.teacher == "local":
        hardware = find_hardware(precision)
        language_model = load_language_model(params.teacher_model)
        language_model.model.to(device=hardware.device, dtype=hardware.dtype)
        return LocalTeacher(language_model, params.max_answer_tokens)
    return EndpointTeacher(
        params.teacher_model,
        params.endpoint,
        params.endpoint_key,
        params.requests_per_minute,
        params.endpoint_options,
    )
