"""One system judged on the held-out references: what it says, how close that is, how likely it finds the reference."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ilm.elm.plan import tasks_of
from ilm.elm.references import References
from ilm.elm.sentences import SentenceEncoder
from ilm.elm.speaker import Speaker

BATCH = 8
"""Questions at once."""


@dataclass(frozen=True)
class Scores:
    """By reference, in their order."""

    said: list[str]
    consistency: NDArray[np.float64]
    """[n] cosine of the sentence embeddings of what was said and of the reference."""
    nats: NDArray[np.float64] | None
    """[n] -log p of the reference, summed over its tokens; None where nobody read it."""
    tokens: NDArray[np.int64] | None
    """[n] of the reference, its end included where it is not cut."""


def judge(speaker: Speaker, references: References, encoder: SentenceEncoder, name: str, blind: bool = False) -> Scores:
    """Scores of a model that answers greedily.

    Args:
        speaker: the model.
        references: the held-out part.
        encoder: of sentences.
        name: shown beside the progress bar.
        blind: with soft tokens at zero. All questions of a task are then the same one, and asked once.
    """
    requests, texts = references.requests, references.texts
    nats, tokens = np.zeros(len(texts)), np.zeros(len(texts), np.int64)
    for rows in tqdm(_batches(len(texts)), f"{name} reads", unit="batch", disable=None):
        with torch.no_grad():
            found, counts = speaker.nats(speaker.read(requests[rows], texts[rows]), blind)
        nats[rows], tokens[rows] = found.double().cpu().numpy(), counts.cpu().numpy()
    keys = [request.task if blind else request for request in requests]
    questions = dict(zip(keys, requests, strict=True))
    answers: list[str] = []
    for rows in tqdm(_batches(len(questions)), f"{name} answers", unit="batch", disable=None):
        answers += speaker.say(list(questions.values())[rows], blind)
    answer_to = dict(zip(questions, answers, strict=True))
    said = [answer_to[key] for key in keys]
    return Scores(said, encoder.consistency(said, texts), nats, tokens)


def others_texts(references: References, encoder: SentenceEncoder, seed: int) -> Scores:
    """The floor: the reference of another item, of the same task, in place of an answer. So far a system gets that
    knows the tasks and nothing about the items. With one item there is no other, and the floor is its own text."""
    said = list(references.texts)
    for number, task in enumerate(tasks_of(references.requests)):
        rows = [row for row, request in enumerate(references.requests) if request.task == task]
        order = np.random.default_rng([seed, number]).permutation(rows)
        for row, other in zip(order, np.roll(order, 1), strict=True):
            said[row] = references.texts[other]
    return Scores(said, encoder.consistency(said, references.texts), None, None)


def _batches(count: int) -> list[slice]:
    return [slice(start, start + BATCH) for start in range(0, count, BATCH)]
