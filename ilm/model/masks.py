"""The attention patterns of BLIP-2's figure 2, as boolean masks [b, 1, l, l] over `[queries; text]`; True = may attend.

Queries always see all queries. `text_mask` [b, t] is True at real tokens; padding is seen by nobody.
"""

import torch
from torch import Tensor


def bi_directional(queries: int, text_mask: Tensor) -> Tensor:
    """Everything sees everything: item-text matching."""
    batch = len(text_mask)
    visible = torch.cat([text_mask.new_ones(batch, queries), text_mask], dim=1)
    return visible[:, None, None, :].expand(-1, 1, visible.shape[1], -1)


def contrast(queries: int, text_mask: Tensor) -> Tensor:
    """Queries see queries, text sees text: item-text contrast, both towers in one pass (uni-modal)."""
    batch, length = text_mask.shape
    mask = text_mask.new_zeros(batch, queries + length, queries + length)
    mask[:, :queries, :queries] = True
    mask[:, queries:, queries:] = text_mask[:, None, :]
    return mask[:, None]


def contrast_and_generation(queries: int, text_mask: Tensor) -> Tensor:
    """`[queries; text; text]`: as `contrast`, and a second copy of the text sees queries and its own past (causal).

    BLIP-2 runs contrast and generation as separate passes and hands the queries' keys and values from one to the
    other; since no query ever sees text here, one packed pass computes the same numbers with each query computed once.
    """
    batch, length = text_mask.shape
    first, second = slice(0, queries + length), slice(queries + length, queries + 2 * length)
    mask = text_mask.new_zeros(batch, second.stop, second.stop)
    mask[:, first, first] = contrast(queries, text_mask)[:, 0]
    mask[:, second, :queries] = True
    mask[:, second, second] = text_mask[:, None, :] & text_mask.new_ones(length, length).tril()
    return mask[:, None]
