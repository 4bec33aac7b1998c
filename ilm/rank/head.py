"""Full-catalogue ranking by the retrieval head: one prompt forward and one matmul per batch of users."""

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ilm.cf import factors as cf_factors
from ilm.model.bridge import Bridge
from ilm.model.devices import devices
from ilm.model.storage import BridgeCard, load_bridge
from ilm.prompts.example import Example
from ilm.prompts.templates import FIRST
from ilm.rank.prompting import PromptBuilder, encoded_catalogue


class HeadRecommender:
    """Scores all items for users given by their histories, where the model is. Item vectors are encoded once, at
    construction.

    Raises:
        ArtifactError: model and factors are of different CF spaces, or of catalogues of different size.
    """

    def __init__(self, model: Bridge, card: BridgeCard, factors: cf_factors.Factors, batch_size: int = 32) -> None:
        self.model, self.card, self.batch_size = model, card, batch_size
        self.templates: Mapping[str, str] = FIRST
        """What is asked, by task."""
        with torch.no_grad():
            parts = ((model.adapter(q), model.head.vectors(q)) for q in encoded_catalogue(model, card, factors))
            item_soft, vectors = map(torch.cat, zip(*parts, strict=True))
            self._table = model.head.table_of(vectors)  # [n, e]
        self.prompts = PromptBuilder(model, card, factors, item_soft)

    def asking(self, templates: Mapping[str, str]) -> "HeadRecommender":
        """The same recommender that asks by other templates: task -> wording (`ilm.prompts.templates`)."""
        other = copy(self)
        other.templates = templates
        return other

    def score(self, task: str, histories: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Scores [batch, n_items] of all items for each history (item indexes, oldest first); higher is better.

        `task` "sequential" shows the history's latest items, "straightforward" only the user's vector.
        """
        return self.score_examples(self.prompts.recommendations(task, histories, self.templates))

    @torch.no_grad()
    def score_examples(self, examples: Sequence[Example]) -> NDArray[np.float32]:
        """Scores [batch, n_items] of all items at the end of each example; its last answer is still to be given."""
        chunks = [examples[start : start + self.batch_size] for start in range(0, len(examples), self.batch_size)]
        return np.concatenate([self._score(chunk) for chunk in chunks])

    def _score(self, examples: Sequence[Example]) -> NDArray[np.float32]:
        rendered, user_queries = self.prompts.rendered(examples)
        embeddings = self.prompts.embedded(rendered, user_queries)
        states = self.model.language_model.hidden_states(embeddings, rendered.prompts.mask)
        head, rows = self.model.head, torch.arange(len(examples), device=states.device)
        context = rendered.context(head, self._table, user_queries, rows, rendered.answer)
        told = torch.tensor([example.chat for example in examples], device=states.device)
        scores: NDArray[np.float32] = head(states[rows, rendered.answer], context, self._table, told).cpu().numpy()
        return scores


def load_recommender(model_folder: Path, factors_path: Path, batch_size: int) -> HeadRecommender:
    """The recommender of a finetuned model and the CF factors that it was trained on; on a GPU, if there is one.

    Raises:
        ArtifactError: a file is missing or damaged, or model and factors are of different CF spaces.
    """
    model, card = load_bridge(model_folder)
    return HeadRecommender(model.move(devices()[0]), card, cf_factors.load(factors_path), batch_size)
