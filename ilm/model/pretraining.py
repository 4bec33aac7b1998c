"""Stage 1: a Q-Former with the heads of its pretraining losses (BLIP-2 section 3.1, ILM section 3.2)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ilm.model import losses, masks
from ilm.model.qformer import QFormer

PROJECTION = 256
"""Width of the contrastive space (BLIP-2)."""


@dataclass(frozen=True)
class TextBatch:
    """Item texts, tokenised and right-padded: `token_ids` [b, t] int64, `mask` [b, t] bool (True at tokens)."""

    token_ids: Tensor
    mask: Tensor


class PretrainingModel(nn.Module):
    """Computes ITC, ITM and ITG of item-text batches, and the set contrast of item-item or user-item batches.

    Args:
        qformer: with its text branch.
        pieces: sorted ids [v] of the word pieces that the catalogue's texts use: the generation head predicts only
            these, which costs a tenth of BERT's 30,522-way head.
        start_id: word piece that replaces `[CLS]` where text is generated (BLIP-2's `[DEC]`).
    """

    pieces: Tensor
    compact: Tensor

    def __init__(self, qformer: QFormer, pieces: Tensor, start_id: int) -> None:
        super().__init__()
        hidden = qformer.config.hidden
        self.qformer = qformer
        self.start_id = start_id
        self.query_projection = nn.Linear(hidden, PROJECTION)
        self.text_projection = nn.Linear(hidden, PROJECTION)
        self.matching_head = nn.Linear(hidden, 2)
        self.generation_transform = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.LayerNorm(hidden))
        self.generation_bias = nn.Parameter(torch.zeros(len(pieces)))
        self.text_temperature = nn.Parameter(torch.tensor(0.07))
        self.set_temperature = nn.Parameter(torch.tensor(0.07))
        compact = torch.full((qformer.config.vocabulary,), losses.IGNORED)
        compact[pieces] = torch.arange(len(pieces))
        self.register_buffer("pieces", pieces, persistent=False)
        self.register_buffer("compact", compact, persistent=False)

    def item_text_losses(
        self, items: Tensor, factors: Tensor, text: TextBatch, paired: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """ITC, ITM and ITG of items with their texts, plus the query-diversity gauge.

        Args:
            items: item indexes [b]; with the token ids they tell which pairs of the batch are no negatives.
            factors: the items' CF vectors [b, d].
            text: one text of each item.
            paired: rows, from the first, that also take part in matching and generation. Contrast lives on many
                negatives; the other two learn from each row alone and cost three times as much per row.
            generator: draws the hard negatives.
        """
        queries, length = self.qformer.config.queries, text.token_ids.shape[1]
        cf_tokens = self.qformer.expand(factors)
        embedded = self.qformer.embed_text(text.token_ids)
        hidden, generated = self._contrast_and_generation_pass(cf_tokens, embedded, text, paired)

        same = (items[:, None] == items) | (text.token_ids[:, None] == text.token_ids).all(dim=-1)
        temperature = self.text_temperature.clamp(0.01, 0.5)
        similarity = losses.query_text_similarity(
            self.query_projection(hidden[:, :queries]),
            self.text_projection(losses.masked_mean(hidden[:, queries : queries + length], text.mask)),
        )
        wrong_text = losses.hard_negatives(similarity, same, temperature, generator)[:paired]
        wrong_item = losses.hard_negatives(similarity.T, same.T, temperature, generator)[:paired]
        return {
            "itc": losses.symmetric_contrast(similarity, same, temperature),
            "itm": self._matching(cf_tokens, embedded, text.mask, wrong_item, wrong_text),
            "itg": self._generation(generated, text.token_ids[:paired], text.mask[:paired]),
            "query_cosine": losses.query_cosine(hidden[:, :queries]).detach(),
        }

    def _contrast_and_generation_pass(
        self, cf_tokens: Tensor, embedded: Tensor, text: TextBatch, paired: int
    ) -> tuple[Tensor, Tensor]:
        """Hidden states [b, q + t, h] of queries and text for contrast, and [paired, t, h] of the text as generated;
        each item's queries are computed once."""
        queries, length = self.qformer.config.queries, text.token_ids.shape[1]
        started = text.token_ids[:paired].clone()
        started[:, 0] = self.start_id
        both = self.qformer(
            cf_tokens[:paired],
            torch.cat([embedded[:paired], self.qformer.embed_text(started)], dim=1),
            masks.contrast_and_generation(queries, text.mask[:paired]),
        )
        hidden, generated = both.split([queries + length, length], dim=1)
        if paired < len(cf_tokens):
            mask = masks.contrast(queries, text.mask[paired:])
            hidden = torch.cat([hidden, self.qformer(cf_tokens[paired:], embedded[paired:], mask)])
        return hidden, generated

    def _matching(
        self, cf_tokens: Tensor, embedded: Tensor, text_mask: Tensor, wrong_item: Tensor, wrong_text: Tensor
    ) -> Tensor:
        """Three groups of rows: true pairs, a wrong item for each text, a wrong text for each item."""
        paired = len(wrong_item)
        text_mask = torch.cat([text_mask[:paired], text_mask[:paired], text_mask[wrong_text]])
        hidden = self.qformer(
            torch.cat([cf_tokens[:paired], cf_tokens[wrong_item], cf_tokens[:paired]]),
            torch.cat([embedded[:paired], embedded[:paired], embedded[wrong_text]]),
            masks.bi_directional(self.qformer.config.queries, text_mask),
        )
        matches = torch.arange(3 * paired, device=hidden.device) < paired
        return losses.matching_loss(self.matching_head(hidden[:, : self.qformer.config.queries]), matches)

    def _generation(self, generated: Tensor, token_ids: Tensor, text_mask: Tensor) -> Tensor:
        """Next word piece at every text position that has one; only those positions meet the vocabulary."""
        assert self.qformer.text_embeddings is not None
        supervised = text_mask[:, 1:]
        states = self.generation_transform(generated[:, :-1][supervised])  # [n, h]
        words = self.qformer.text_embeddings.words.weight[self.pieces]  # [v, h], tied
        targets = self.compact[token_ids[:, 1:][supervised]]
        return losses.generation_loss(F.linear(states, words, self.generation_bias), targets)

    def set_loss(
        self, left: Tensor, right: Tensor, left_ids: Tensor, right_ids: Tensor, users: bool = False
    ) -> dict[str, Tensor]:
        """Item-item ("ii") or, with `users`, user-item ("ui") contrast of CF vectors `left`, `right` [b, d].

        `left_ids`, `right_ids` [b]: rows that share either are the same thing and no negatives of each other.
        """
        same = (left_ids[:, None] == left_ids) | (right_ids[:, None] == right_ids)
        if not users:
            same = same | (left_ids[:, None] == right_ids)
        left_set = self.query_projection(self.qformer.encode(left, users=users))
        right_set = self.query_projection(self.qformer.encode(right))
        temperature = self.set_temperature.clamp(0.01, 0.5)
        return {"ui" if users else "ii": losses.set_contrast(left_set, right_set, same, temperature)}
