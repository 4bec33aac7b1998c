"""Systems that are trained like another one and rank in another way than by the retrieval head with a seen prompt."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ilm.bench.diagnoses import DIAGNOSES, OF_THE_HEAD
from ilm.bench.variants import Changes
from ilm.cf.factors import Factors
from ilm.eval.protocol import TOP, Recommender
from ilm.model.bridge import Bridge
from ilm.model.storage import BridgeCard
from ilm.prompts.indexes import spoken_names
from ilm.prompts.templates import UNSEEN
from ilm.rank.generation import GenerationRecommender
from ilm.rank.head import HeadRecommender
from ilm.rank.names import name_tokens


@dataclass(frozen=True)
class Ranked:
    """What a way of ranking may use beside the model."""

    factors: Factors
    titles: list[str]
    candidates: NDArray[np.bool_]
    """[n_items] what may be recommended."""
    batch_size: int


Ranking: TypeAlias = Callable[[Bridge, BridgeCard, Ranked], Recommender]


def by_head(model: Bridge, card: BridgeCard, ranked: Ranked) -> HeadRecommender:
    """By the retrieval head, asked by the first seen prompt of each task."""
    return HeadRecommender(model, card, ranked.factors, ranked.batch_size)


def by_unseen_prompt(model: Bridge, card: BridgeCard, ranked: Ranked) -> HeadRecommender:
    """By the retrieval head, asked by the prompts that training never used."""
    return by_head(model, card, ranked).asking(UNSEEN)


def by_name(model: Bridge, card: BridgeCard, ranked: Ranked) -> GenerationRecommender:
    """By the names that the language model would most likely say: titles or index strings, as it was trained."""
    names = name_tokens(model.language_model, spoken_names(ranked.titles, card.index_seed))
    return GenerationRecommender(model, card, ranked.factors, names, ranked.candidates, TOP, ranked.batch_size)


OTHER_RANKINGS: dict[str, tuple[Changes, Ranking]] = {
    "ilm-unseen": ({}, by_unseen_prompt),
    "ilm-titles": ({}, by_name),
    "ilm-indexes": ({"finetune": {"names": "index"}}, by_name),
}
"""Name -> the settings in which its training differs from those of the run, and how it ranks. With the same settings it
is the same training, and done once."""


def ranking_of(system: str) -> Ranking:
    """How a system ranks."""
    return OTHER_RANKINGS[system][1] if system in OTHER_RANKINGS else by_head


def diagnoses_of(system: str) -> tuple[str, ...]:
    """What can be taken away from a system: generation has no head."""
    return tuple(part for part in DIAGNOSES if part not in OF_THE_HEAD or ranking_of(system) is not by_name)
