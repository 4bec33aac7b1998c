"""Stage 1: a Q-Former with the heads of its pretraining losses (BLIP-2 section 3.1, ILM section 3.2)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ilm.model import losses, masks
from ilm.model.qformer import QFormer
from ilm.model.shards import WHOLE, Shard, gather_rows

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
        self,
        items: Tensor,
        factors: Tensor,
        text: TextBatch,
        paired: int,
        generator: torch.Generator,
        shard: Shard = WHOLE,
    ) -> dict[str, Tensor]:
        """ITC, ITM and ITG of items with their texts, plus the query-diversity gauge.

        Args:
            items: item indexes [b]; with the token ids they tell which pairs of the batch are no negatives.
            factors: the items' CF vectors [b, d].
            text: one text of each item.
            paired: rows, from the first, that also take part in matching and generation. Contrast lives on many
                negatives; the other two learn from each row alone and cost three times as much per row.
            generator: on the CPU; draws the hard negatives.
            shard: the rows that this process computes, of the paired ones and of the others; the returned values are
                shares that add up over the processes.
        """
        own = _own(torch.arange(len(items), device=items.device), paired, shard)
        own_paired = paired // shard.count
        cf_tokens = self.qformer.expand(factors[own])
        own_text = TextBatch(text.token_ids[own], text.mask[own])
        embedded = self.qformer.embed_text(own_text.token_ids)
        query_part, generated = self._query_and_generation_pass(cf_tokens, own_text, own_paired)
        text_part = self.qformer(None, embedded, masks.bi_directional(0, own_text.mask))

        temperature = self.text_temperature.clamp(0.01, 0.5)
        own_queries = self.query_projection(query_part)
        own_texts = self.text_projection(losses.masked_mean(text_part, own_text.mask))
        all_queries, all_texts = (_whole(part, own_paired, shard) for part in (own_queries, own_texts))
        to_texts = losses.query_text_similarity(own_queries, all_texts)
        to_items = losses.query_text_similarity(all_queries, own_texts).T
        same = (items[own, None] == items) | (own_text.token_ids[:, None] == text.token_ids).all(dim=-1)
        rows = losses.contrast(to_texts, same, own, temperature) + losses.contrast(to_items, same, own, temperature)

        noise = (
            torch.empty(2, paired, len(items)).exponential_(generator=generator)[:, shard.rows(paired)].to(own.device)
        )
        first = slice(own_paired)
        wrong_text = losses.hard_negatives(to_texts[first], same[first], temperature, noise[0])
        wrong_item = losses.hard_negatives(to_items[first], same[first], temperature, noise[1])
        wrong_tokens = self.qformer.expand(factors[wrong_item])
        matching = self._matching(
            torch.cat([cf_tokens[first], wrong_tokens, cf_tokens[first]]),
            torch.cat([embedded[first], embedded[first], self.qformer.embed_text(text.token_ids[wrong_text])]),
            torch.cat([own_text.mask[first], own_text.mask[first], text.mask[wrong_text]]),
        )
        generation = self._generation(generated, own_text.token_ids[first], own_text.mask[first])
        return {
            "itc": rows.sum() / (2 * len(items)),
            "itm": matching / shard.count,
            "itg": generation / text.mask[:paired, 1:].sum(),
            "query_cosine": losses.query_cosine(query_part).detach() / shard.count,
        }

    def _query_and_generation_pass(self, cf_tokens: Tensor, text: TextBatch, paired: int) -> tuple[Tensor, Tensor]:
        """Query outputs [b, q, h], and hidden states [paired, t, h] of the text as generated; each item's queries are
        computed once."""
        started = text.token_ids[:paired].clone()
        started[:, 0] = self.start_id
        mask = masks.generation(self.qformer.config.queries, text.mask[:paired])
        both = self.qformer(cf_tokens[:paired], self.qformer.embed_text(started), mask)
        queries, generated = both.split([self.qformer.config.queries, started.shape[1]], dim=1)
        if paired < len(cf_tokens):
            queries = torch.cat([queries, self.qformer(cf_tokens[paired:])])
        return queries, generated

    def _matching(self, cf_tokens: Tensor, embedded: Tensor, text_mask: Tensor) -> Tensor:
        """Three groups of equally many rows: true pairs, a wrong item for each text, a wrong text for each item."""
        hidden = self.qformer(cf_tokens, embedded, masks.bi_directional(self.qformer.config.queries, text_mask))
        matches = torch.arange(len(hidden), device=hidden.device) < len(hidden) // 3
        return losses.matching_loss(self.matching_head(hidden[:, : self.qformer.config.queries]), matches)

    def _generation(self, generated: Tensor, token_ids: Tensor, text_mask: Tensor) -> Tensor:
        """Next word piece, summed over the text positions that have one; only those positions meet the vocabulary."""
        assert self.qformer.text_embeddings is not None
        supervised = text_mask[:, 1:]
        states = self.generation_transform(generated[:, :-1][supervised])  # [n, h]
        words = self.qformer.text_embeddings.words.weight[self.pieces]  # [v, h], tied
        targets = self.compact[token_ids[:, 1:][supervised]]
        return losses.generation_loss(F.linear(states, words, self.generation_bias), targets)

    def set_loss(
        self,
        left: Tensor,
        right: Tensor,
        left_ids: Tensor,
        right_ids: Tensor,
        users: bool = False,
        shard: Shard = WHOLE,
    ) -> dict[str, Tensor]:
        """Item-item ("ii") or, with `users`, user-item ("ui") contrast of CF vectors `left`, `right` [b, d].

        Args:
            left, right: CF vectors of the pairs.
            left_ids, right_ids: [b]; rows that share either are the same thing and no negatives of each other.
            users: whether `left` are users.
            shard: as in `item_text_losses`.
        """
        own = torch.arange(len(left), device=left.device)[shard.rows(len(left))]
        left_set, right_set = (
            losses.centred(gather_rows(side, shard)) for side in self._query_means(left[own], right[own], users)
        )
        same = (left_ids[:, None] == left_ids) | (right_ids[:, None] == right_ids)
        if not users:
            same = same | (left_ids[:, None] == right_ids)
        temperature = self.set_temperature.clamp(0.01, 0.5)
        rows = losses.contrast(left_set[own] @ right_set.T, same[own], own, temperature)
        columns = losses.contrast(right_set[own] @ left_set.T, same.T[own], own, temperature)
        return {"ui" if users else "ii": (rows.sum() + columns.sum()) / (2 * len(left))}

    def _query_means(self, left: Tensor, right: Tensor, users: bool) -> tuple[Tensor, Tensor]:
        """Means [b, h] of the projected queries of both sides [b, d]; an item that occurs often is encoded once."""
        if users:
            left_mean, right_mean = (
                self.query_projection(self.qformer.encode(side, user)).mean(dim=1)
                for side, user in ((left, True), (right, False))
            )
            return left_mean, right_mean
        different, place = torch.cat([left, right]).unique(dim=0, return_inverse=True)
        means = self.query_projection(self.qformer.encode(different)).mean(dim=1)[place]
        return means[: len(left)], means[len(left) :]


def _own(rows: Tensor, paired: int, shard: Shard) -> Tensor:
    """This process's rows of a batch: its part of the paired ones, then its part of the others."""
    return torch.cat([part[shard.rows(len(part))] for part in (rows[:paired], rows[paired:]) if len(part)])


def _whole(own: Tensor, paired: int, shard: Shard) -> Tensor:
    """The batch whose parts all processes have by `_own`, in its own order; `paired` of this process's rows."""
    return torch.cat([gather_rows(part, shard) for part in (own[:paired], own[paired:]) if len(part)])
