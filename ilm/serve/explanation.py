"""Why an item is recommended: what each item of the history adds to its score, and which of them it resembles."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ilm.prompts.attributes import Attributes, listed
from ilm.prompts.catalogue import Catalogue
from ilm.prompts.example import Example
from ilm.rank.head import HeadRecommender
from ilm.serve.question import Question
from ilm.serve.word_overlap import WordOverlap

REASONS = 3
"""How many items of a history an explanation in words names."""


@dataclass(frozen=True)
class HistoryItem:
    """One item of the history beside the item that is explained."""

    item_id: str
    title: str
    contribution: float | None
    """By how much the item's score falls if this one is left out of the history, each time it occurs; None: too long
    ago to stand in the prompt, or the only item there is."""
    similarity: float
    """Cosine of both items' encodings: the mean of the Q-Former's outputs, from which the catalogue's mean is taken."""
    text_similarity: float
    """Cosine of their texts' words, rare ones weighing more."""


@dataclass(frozen=True)
class Explanation:
    """What speaks for an item. `score` and `rank` (from 1) are among all active items that were not seen."""

    item_id: str
    title: str
    score: float
    rank: int
    history: list[HistoryItem]
    """Different items, the latest last."""

    def strongest(self) -> list[HistoryItem]:
        """The items that add most, best first; none that adds nothing."""
        adding = [(item.contribution, item) for item in self.history if item.contribution and item.contribution > 0]
        return [item for _, item in sorted(adding, key=lambda pair: -pair[0])[:REASONS]]


class Explainer:
    """Explains a model's recommendations by asking again, each time without one of the items last seen.

    Args:
        ranker: the model.
        catalogue, known: of its items.
        texts: [n_items] all words of each.
        item_factors: [n_items, d] their CF vectors.
    """

    def __init__(
        self,
        ranker: HeadRecommender,
        catalogue: Catalogue,
        known: Attributes,
        texts: list[str],
        item_factors: NDArray[np.float32],
    ) -> None:
        self._ranker, self._catalogue, self._known = ranker, catalogue, known
        self._overlap = WordOverlap(texts)
        self._encodings = _centred(item_factors if ranker.card.item_name_tokens else _means(ranker, item_factors))

    def question(
        self, item: int, seen: NDArray[np.int32], prompt: Callable[[NDArray[np.int32]], Example]
    ) -> Question[Explanation]:
        """Why this item: asks the prompt of the whole history, and that without each of the items last seen."""
        shown = _distinct(seen[-self._ranker.card.max_history :])
        left_out = shown if len(_distinct(seen)) > 1 else []
        histories = [seen, *(seen[seen != other] for other in left_out)]
        return Question(
            tuple(prompt(history) for history in histories),
            lambda scores: self._explained(item, seen, left_out, scores),
        )

    def in_words(self, explained: Explanation) -> str:
        """`Heat (1995) is here above all because of Ronin (1998) (also Action).`"""
        strongest = [self._reason(self._catalogue.find(explained.item_id), reason) for reason in explained.strongest()]
        if not strongest:
            return f"{explained.title} comes from what was said, and from what others chose."
        return f"{explained.title} is here above all because of {listed(strongest)}."

    def _explained(
        self, item: int, seen: NDArray[np.int32], left_out: list[int], scores: NDArray[np.float32]
    ) -> Explanation:
        item_ids, titles, whole = self._catalogue.item_ids, self._catalogue.titles, scores[0]
        contributions = dict(zip(left_out, (whole[item] - scores[1:, item]).tolist(), strict=True))
        others = self._catalogue.active.copy()
        others[seen] = False
        history = [
            HistoryItem(
                item_ids[other],
                titles[other],
                contributions.get(other),
                float(self._encodings[other] @ self._encodings[item]),
                self._overlap(other, item),
            )
            for other in _distinct(seen)
        ]
        rank = 1 + int((whole[others] > whole[item]).sum())
        return Explanation(item_ids[item], titles[item], float(whole[item]), rank, history)

    def _reason(self, item: int, reason: HistoryItem) -> str:
        other = self._catalogue.find(reason.item_id)
        shared = [value for column in self._known.lists for value in self._known.shared(column, item, other)]
        return f"{reason.title}{f' (also {listed(shared)})' if shared else ''}"


def _means(ranker: HeadRecommender, item_factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each item's query outputs, [n, h]."""
    vectors = torch.from_numpy(item_factors).to(ranker.model.device)
    means: NDArray[np.float32] = (
        torch.cat([queries.mean(dim=1) for queries in ranker.model.encoded(vectors)]).cpu().numpy()
    )
    return means


def _distinct(seen: NDArray[np.int32]) -> list[int]:
    """Different items, in the order of their last occurrence."""
    return list(dict.fromkeys(seen[::-1].tolist()))[::-1]


def _centred(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vectors [n, h] of vectors [n, h] without their mean; zeros where nothing is left."""
    rest = vectors - vectors.mean(axis=0)
    unit: NDArray[np.float32] = rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), 1e-12)
    return unit
