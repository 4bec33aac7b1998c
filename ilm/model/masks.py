"""The attention patterns of BLIP-2's figure 2, as boolean masks [b, 1, l, l] over `[queries; text]`; True = may attend.

Queries always see all queries. `text_mask` [b, t] is True at real tokens; padding is seen by nobody.
"""

import torch
from torch import Tensor


def bi_directional(queries: int, text_mask: Tensor) -> Tensor:
    """Everything sees everything: item-text matching; without queries, text by itself, as contrast has it."""
    batch = len(text_mask)
    visible = torch.cat([text_mask.new_ones(batch, queries), text_mask], dim=1)
    return visible[:, None, None, :].expand(-1, 1, visible.shape[1], -1)


def generation(queries: int, text_mask: Tensor) -> Tensor:
    """Queries see queries; text sees queries and its own past: item-grounded text generation.

    No query ever sees text here, so the queries' outputs are those of queries alone, and serve the contrast as well:
    BLIP-2 computes them once, too, and hands their keys and values to the generation.
    """
    batch, length = text_mask.shape
    mask = text_mask.new_zeros(batch, queries + length, queries + length)
    mask[:, :, :queries] = True
    mask[:, queries:, queries:] = text_mask[:, None, :] & text_mask.new_ones(length, length).tril()
    return mask[:, None]
