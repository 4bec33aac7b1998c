"""Answering a conversation with items: what is shown in a chat, and what is measured of chats, takes this way."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilm.prompts.catalogue import Catalogue
from ilm.prompts.conversation import Messages, as_example
from ilm.rank.head import HeadRecommender


@dataclass(frozen=True)
class Answer:
    """The items that answer a conversation, best first; `scores` [n_items] of the whole catalogue."""

    items: list[int]
    scores: NDArray[np.float32]


def answer(
    ranker: HeadRecommender,
    catalogue: Catalogue,
    conversations: Sequence[Messages],
    seen: Sequence[NDArray[np.int32]],
    k: int,
) -> list[Answer]:
    """Answer the last message of each conversation with k active items that were neither seen nor named before.

    The retrieval head reads the language model's state at the end of the conversation and chooses among the whole
    catalogue. Wishes are understood as far as the model has learned to; nothing filters the items by them.

    Args:
        ranker: the model, ready to rank.
        catalogue: to find by title what the messages name.
        conversations: what was said.
        seen: item indexes of each conversation's user, oldest first.
        k: how many items; fewer where there are no more.

    Raises:
        LookupFailed: the messages are not as they should be.
    """
    pairs = zip(conversations, seen, strict=True)
    examples, named = zip(*(as_example(messages, items, catalogue) for messages, items in pairs), strict=True)
    rows = zip(ranker.score_examples(examples), seen, named, strict=True)
    answers = []
    for scores, items, mentioned in rows:
        allowed = catalogue.active.copy()
        allowed[np.append(items, mentioned).astype(np.int32)] = False
        answers.append(Answer(best_items(scores, allowed, k), scores))
    return answers


def best_items(scores: NDArray[np.float32], allowed: NDArray[np.bool_], k: int) -> list[int]:
    """The k allowed items with the highest scores, best first; ties in the order of the catalogue."""
    candidates = np.flatnonzero(allowed)
    best: list[int] = candidates[np.argsort(-scores[candidates], kind="stable")[:k]].tolist()
    return best
