"""Stage-1 losses, each a function of representations (BLIP-2, arXiv 2301.12597, section 3.1; ILM, arXiv 2406.02844).

Shapes: b batch, q queries, t text tokens, h width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORED = -100
"""Target that cross-entropy leaves out."""


def masked_mean(text: Tensor, mask: Tensor) -> Tensor:
    """Mean of the real tokens: `text` [b, t, h], `mask` [b, t] -> [b, h].

    BLIP-2 takes the text's `[CLS]` state. The built-in encoder was trained with mean pooling, its `[CLS]` never: with
    the mean, contrast falls twice as fast (docs/decisions/stage1.md).
    """
    return (text * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def query_text_similarity(queries: Tensor, text: Tensor) -> Tensor:
    """Cosine of the closest query: `queries` [b, q, h] against `text` [c, h] -> [b, c].

    The maximum is safe here because one side is a single vector; over a query x query grid it collapses.
    """
    queries, text = F.normalize(queries, dim=-1), F.normalize(text, dim=-1)
    return torch.einsum("bqh,ch->bqc", queries, text).amax(dim=1)


def symmetric_contrast(similarity: Tensor, same: Tensor, temperature: Tensor) -> Tensor:
    """InfoNCE in both directions over `similarity` [b, b], the diagonal being positive.

    `same` [b, b] is True where row and column stand for the same thing (the same item twice in a batch); off the
    diagonal such pairs are no negatives and are masked out.
    """
    duplicate = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
    logits = (similarity / temperature).masked_fill(duplicate, float("-inf"))
    positive = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, positive) + F.cross_entropy(logits.T, positive)) / 2


def hard_negatives(similarity: Tensor, same: Tensor, temperature: Tensor, generator: torch.Generator) -> Tensor:
    """Draw for each row one column that is not the same item, likelier the more similar: [b] indices.

    One vectorised multinomial over softmax(similarity / temperature). Needs two different items in the batch.
    """
    weights = (similarity.detach() / temperature.detach()).softmax(dim=1) + 1e-4
    return torch.multinomial(weights.masked_fill(same, 0.0), 1, generator=generator).squeeze(1)


def matching_loss(logits: Tensor, matches: Tensor) -> Tensor:
    """Item-text matching: `logits` [n, q, 2] averaged over queries, `matches` bool [n]; cross-entropy."""
    return F.cross_entropy(logits.mean(dim=1), matches.long())


def generation_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Item-grounded generation: `logits` [n, v] at text positions, `targets` [n] the next token or `IGNORED`."""
    return F.cross_entropy(logits, targets, ignore_index=IGNORED)


def set_contrast(left: Tensor, right: Tensor, same: Tensor, temperature: Tensor) -> Tensor:
    """Item-item or user-item contrast of query sets [b, q, h]: mean-pooled, batch mean subtracted, then cosine.

    The mean over queries is compared, not the best pair: the maximum over q x q pairs collapses to a constant.
    Subtracting each side's batch mean keeps the cosine from being spent on what all items share.
    """
    left, right = (F.normalize(side.mean(dim=1) - side.mean(dim=(0, 1)), dim=-1) for side in (left, right))
    return symmetric_contrast(left @ right.T, same, temperature)


def query_cosine(queries: Tensor) -> Tensor:
    """Gauge: mean cosine between different queries of the same item, `queries` [b, q, h]; 1 = they all say the same."""
    count = queries.shape[1]
    if count == 1:
        return queries.new_ones(())
    unit = F.normalize(queries, dim=-1)
    total = torch.einsum("bqh,brh->b", unit, unit).mean()
    return (total - count) / (count * (count - 1))
