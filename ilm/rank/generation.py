"""Ranking by generation: the items whose names the language model would most likely say, by beams or exactly."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ilm.cf import factors as cf_factors
from ilm.model.bridge import Bridge
from ilm.model.storage import BridgeCard
from ilm.rank.beams import beam_search
from ilm.rank.exact import score_items
from ilm.rank.prompt_cache import PromptCache
from ilm.rank.prompting import PromptBuilder, soft_tokens
from ilm.rank.trie import build_trie

NOT_FOUND = float(np.finfo(np.float32).min)
"""Score of an item that no beam reached: below every log-likelihood, yet finite, as evaluation asks for."""


class GenerationRecommender:
    """Finds items by generating their names: nothing but names of the catalogue can be said.

    Args:
        model: encoder and adapter before a language model.
        card: what the model was trained for.
        factors: CF vectors of the same space.
        names: token ids of each item's name (`ilm.rank.names`), by item index.
        active: bool [n_items]; inactive items are never found.
        beams: width of the search: at least the length of the lists that are wanted.
        batch_size: prompts at once.

    Raises:
        ArtifactError: model and factors are of different CF spaces, or of catalogues of different size.
        DataError: a name does not end with the end token.
        ValueError: there are not as many names or flags as items.
    """

    def __init__(
        self,
        model: Bridge,
        card: BridgeCard,
        factors: cf_factors.Factors,
        names: Sequence[Sequence[int]],
        active: NDArray[np.bool_],
        beams: int = 20,
        batch_size: int = 32,
    ) -> None:
        self.language_model, self.beams, self.batch_size = model.language_model, beams, batch_size
        self._device = model.device
        self.prompts = PromptBuilder(model, card, factors, soft_tokens(model, card, factors))
        self.trie = build_trie(names, model.language_model.tokenizer.eos_token_id).to(self._device)
        if len(names) != card.items or len(active) != card.items:
            raise ValueError(f"{card.items} items, but {len(names)} names and {len(active)} flags of activity")
        self._inactive = torch.from_numpy(~active)

    def score(self, task: str, histories: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Log-likelihoods [batch, n_items] of the items that beams reach; NOT_FOUND for the rest.

        There are two searches per prompt: among all items, and among those that are not in the history. So a ranking
        with the seen items kept and one with them removed each hold the best `beams` items of their own search, and
        the width need not grow with the length of a history.
        """
        scores = np.full((len(histories), self.trie.items), NOT_FOUND, np.float32)
        for rows, prompts in self._batches(task, histories):
            for excluded in (self._excluded([[]] * prompts.batch), self._excluded(histories[rows])):
                row, items, likelihoods = self._found(prompts, excluded)
                scores[rows][row, items] = likelihoods
        return scores

    def recommend(
        self, task: str, histories: Sequence[NDArray[np.int32]], exclude_seen: bool = True
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """For each history the items found, most likely first, and their log-likelihoods. Items of the same name have
        the same likelihood and stand by item index; they can make a list longer than `beams`."""
        lists = []
        for rows, prompts in self._batches(task, histories):
            excluded = self._excluded(histories[rows] if exclude_seen else [[]] * prompts.batch)
            row, items, likelihoods = self._found(prompts, excluded)
            ends = np.searchsorted(row, np.arange(1, prompts.batch))
            lists += list(zip(np.split(items, ends), np.split(likelihoods, ends), strict=True))
        return lists

    def log_likelihoods(
        self, task: str, histories: Sequence[NDArray[np.int32]], candidates: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Exact log-likelihoods [batch, n_items], or [batch, m] of the candidates [batch, m] of each history: the
        reference for beams, or a second opinion on the best of another ranking. `active` plays no part."""
        asked = None if candidates is None else torch.from_numpy(candidates).to(self._device)
        parts = [
            score_items(prompts, self.trie, None if asked is None else asked[rows]).cpu().numpy()
            for rows, prompts in self._batches(task, histories)
        ]
        return np.concatenate(parts)

    def _batches(self, task: str, histories: Sequence[NDArray[np.int32]]) -> Iterator[tuple[slice, PromptCache]]:
        for start in range(0, len(histories), self.batch_size):
            rows = slice(start, start + self.batch_size)
            examples = self.prompts.recommendations(task, histories[rows])
            yield rows, PromptCache(self.language_model, *self.prompts(examples))

    def _excluded(self, seen: Sequence[Sequence[int] | NDArray[np.int32]]) -> Tensor:
        """bool [b, n_items]: inactive items, and those seen."""
        excluded = self._inactive.repeat(len(seen), 1)
        for row, items in zip(excluded, seen, strict=True):
            row[torch.tensor(items, dtype=torch.int64)] = True
        return excluded.to(self._device)

    def _found(
        self, prompts: PromptCache, excluded: Tensor
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """(row, item, score) of the items found, rows ascending, best first; excluded namesakes left out."""
        found = beam_search(prompts, self.trie, self.beams, excluded)
        row, place = (found.leaves >= 0).nonzero(as_tuple=True)
        which, items = self.trie.items_of(found.leaves[row, place])
        row, scores = row[which], found.scores[row, place][which]
        kept = ~excluded[row, items]
        return row[kept].cpu().numpy(), items[kept].cpu().numpy(), scores[kept].cpu().numpy()
