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


def contrast(similarity: Tensor, same: Tensor, positive: Tensor, temperature: Tensor) -> Tensor:
    """InfoNCE of each row: `similarity` [b, c] of b rows with the c candidates of the whole batch -> [b].

    `positive` [b] is each row's true candidate. `same` [b, c] is True where row and candidate stand for the same thing
    (the same item twice in a batch); apart from the positive, such candidates are no negatives and are masked out.
    """
    true = positive[:, None] == torch.arange(similarity.shape[1], device=positive.device)
    logits = (similarity / temperature).masked_fill(same & ~true, float("-inf"))
    return F.cross_entropy(logits.float(), positive, reduction="none")


def hard_negatives(similarity: Tensor, same: Tensor, temperature: Tensor, noise: Tensor) -> Tensor:
    """Draw for each row one candidate that is not the same item: [b] indices.

    Half of them by softmax(similarity / temperature) over the other items, as in BLIP-2; the other half evenly. With
    hard ones alone matching stays at chance (docs/decisions/stage1.md).

    Args:
        similarity: [b, c] of rows with candidates; each row must have a candidate that is another item.
        same: [b, c], True where row and candidate are the same item.
        noise: draws [b, c] of the exponential distribution: the largest weight / noise is a draw by weight, which is
            how `torch.multinomial` does it. It comes from outside so that processes can share the rows.
    """
    hard = (similarity.detach().float() / temperature.detach()).masked_fill(same, float("-inf")).softmax(dim=1)
    even = (~same).float()
    return ((hard + even / even.sum(dim=1, keepdim=True)) / noise).argmax(dim=1)


def matching_loss(logits: Tensor, matches: Tensor) -> Tensor:
    """Item-text matching: `logits` [n, q, 2] averaged over queries, `matches` bool [n]; cross-entropy."""
    return F.cross_entropy(logits.float().mean(dim=1), matches.long())


def generation_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Item-grounded generation: `logits` [n, v] at text positions, `targets` [n] the next token or `IGNORED`; a sum."""
    return F.cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="sum")


def centred(sets: Tensor) -> Tensor:
    """Unit vectors [b, h] for item-item or user-item contrast, of the query sets' means `sets` [b, h] of a whole batch.

    The mean over queries is compared, not the best pair: the maximum over q x q pairs collapses to a constant.
    Subtracting the batch's mean keeps the cosine from being spent on what all items share.
    """
    return F.normalize(sets - sets.mean(dim=0), dim=-1)


def query_cosine(queries: Tensor) -> Tensor:
    """Gauge: mean cosine between different queries of the same item, `queries` [b, q, h]; 1 = they all say the same."""
    count = queries.shape[1]
    if count == 1:
        return queries.new_ones(())
    unit = F.normalize(queries, dim=-1)
    total = torch.einsum("bqh,brh->b", unit, unit).mean()
    return (total - count) / (count * (count - 1))
