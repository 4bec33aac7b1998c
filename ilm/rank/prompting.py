"""Histories, or any examples, -> the language model's input: what every way of ranking puts before the answer."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ilm.cf import factors as cf_factors
from ilm.cf.fold_in import UserFoldIn
from ilm.errors import ArtifactError
from ilm.model.bridge import Bridge
from ilm.model.storage import BridgeCard
from ilm.prompts.example import Example
from ilm.prompts.recommendation import recommendation
from ilm.prompts.rendering import Rendered, Renderer
from ilm.prompts.templates import FIRST


class PromptBuilder:
    """Makes prompts whose last token is where the next item is predicted.

    A user's vector is folded in from the example's whole profile; of a history, the last `max_history` items are shown.

    Args:
        model: encoder and adapter before a language model.
        card: what the model was trained for.
        factors: CF vectors of the same space.
        item_soft: [n, s, w] of the whole catalogue, as `soft_tokens` gives them.
    """

    def __init__(self, model: Bridge, card: BridgeCard, factors: cf_factors.Factors, item_soft: Tensor) -> None:
        self._model, self._max_history = model, card.max_history
        self._fold_in = UserFoldIn(factors.item_factors, factors.regularization, factors.alpha)
        self._renderer = Renderer(model.language_model, model.adapter.soft_tokens, item_names=model.item_names)
        self._item_soft = item_soft

    def recommendations(
        self, task: str, histories: Sequence[NDArray[np.int32]], templates: Mapping[str, str] = FIRST
    ) -> list[Example]:
        """One example per history (item indexes, oldest first), by the task's template.

        Task "sequential" shows the history's latest items, "straightforward" only the user's vector.
        """
        return [recommendation(templates[task], history, self._max_history) for history in histories]

    @torch.no_grad()
    def rendered(self, examples: Sequence[Example]) -> tuple[Rendered, Tensor]:
        """The prompts, and the query outputs [u, q, h] of the users that they show."""
        users = torch.from_numpy(self._fold_in([example.profile for example in examples]))
        rendered = self._renderer(examples, users).to(self._model.device)
        return rendered, self._model.encoder.encode(rendered.prompts.users, users=True)

    @torch.no_grad()
    def embedded(self, rendered: Rendered, user_queries: Tensor) -> Tensor:
        """Input embeddings [b, l, w] with soft tokens scattered in."""
        prompts = rendered.prompts
        return self._model.embed(prompts, self._item_soft[prompts.items], self._model.adapter(user_queries))

    def __call__(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """Input embeddings [b, l, w], and mask [b, l]: True at tokens, False at the padding behind them."""
        rendered, user_queries = self.rendered(examples)
        return self.embedded(rendered, user_queries), rendered.prompts.mask


def soft_tokens(model: Bridge, card: BridgeCard, factors: cf_factors.Factors) -> Tensor:
    """Soft tokens [n, s, w] of all items.

    Raises:
        ArtifactError: as `encoded_catalogue`.
    """
    with torch.no_grad():
        return torch.cat([model.adapter(queries) for queries in encoded_catalogue(model, card, factors)])


def encoded_catalogue(model: Bridge, card: BridgeCard, factors: cf_factors.Factors) -> Iterator[Tensor]:
    """Query outputs [up to 1024, q, h] of all items, some after the others: of a million, all would take 12 GB.

    Raises:
        ArtifactError: model and factors are of different CF spaces, or of catalogues of different size.
    """
    cf_factors.require_space(factors, card.space_id, "the Item-Language Model")
    if len(factors.item_factors) != card.items:
        raise ArtifactError(
            f"the Item-Language Model knows {card.items:,} items, the CF factors {len(factors.item_factors):,}. "
            "Run the finetune step again."
        )
    return model.encoded(torch.from_numpy(factors.item_factors).to(model.device))
