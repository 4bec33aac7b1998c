"""Full-catalogue ranking by the retrieval head: one prompt forward and one matmul per batch of users."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ilm.cf import factors as cf_factors
from ilm.cf.fold_in import UserFoldIn
from ilm.errors import ArtifactError
from ilm.model.bridge import Bridge
from ilm.model.storage import BridgeCard, load_bridge
from ilm.prompts.rendering import render
from ilm.prompts.templates import SEEN


class HeadRecommender:
    """Scores all items for users given by their histories.

    Item vectors are encoded once, at construction. A user's vector is folded in from the whole history; of the
    history's items the last `max_history` are shown in the prompt.
    """

    def __init__(self, model: Bridge, card: BridgeCard, factors: cf_factors.Factors, batch_size: int = 32) -> None:
        cf_factors.require_space(factors, card.space_id, "the Item-Language Model")
        if len(factors.item_factors) != card.items:
            raise ArtifactError(
                f"the Item-Language Model knows {card.items:,} items, the CF factors {len(factors.item_factors):,}. "
                "Run the finetune step again."
            )
        self.model, self.card, self.batch_size = model, card, batch_size
        self.fold_in = UserFoldIn(factors.item_factors, factors.regularization, factors.alpha)
        with torch.no_grad():
            item_queries = model.encode_all(torch.from_numpy(factors.item_factors))
            self._item_soft = model.adapter(item_queries)  # [n, s, w]
            self._table = model.head.table(item_queries)  # [n, e]

    @torch.no_grad()
    def score(self, task: str, histories: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Scores [batch, n_items] of all items for each history (item indexes, oldest first); higher is better.

        `task` "sequential" shows the history's latest items, "straightforward" only the user's vector.
        """
        chunks = [histories[start : start + self.batch_size] for start in range(0, len(histories), self.batch_size)]
        return np.concatenate([self._score(SEEN[task][0], chunk) for chunk in chunks])

    def _score(self, template: str, histories: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        model = self.model
        users = torch.from_numpy(self.fold_in(histories))
        shown = [history[-self.card.max_history :] for history in histories]
        rendered = render(model.language_model, [template] * len(shown), shown, users, model.adapter.soft_tokens)
        user_soft = model.adapter(model.encoder.encode(users, users=True))
        states = model.hidden_states(rendered.prompts, self._item_soft[rendered.prompts.items], user_soft)
        scores: NDArray[np.float32] = model.head(states[torch.arange(len(shown)), rendered.answer], self._table).numpy()
        return scores


def load_recommender(model_folder: Path, factors_path: Path, batch_size: int) -> HeadRecommender:
    """The recommender of a finetuned model and the CF factors that it was trained on.

    Raises:
        ArtifactError: a file is missing or damaged, or model and factors are of different CF spaces.
    """
    model, card = load_bridge(model_folder)
    return HeadRecommender(model, card, cf_factors.load(factors_path), batch_size)
