"""Does stage 1 find an item's own text among all texts of the catalogue, and a text's own item among all items?

By the similarity that item-text contrast trains (the closest query against the text), on items held out from it. Of a
large catalogue, among a sample: to encode all of it would take longer than to train.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ilm.model import losses, masks
from ilm.model.pretraining import PretrainingModel, TextBatch

CUTOFFS = (1, 10)
BATCH, COMPARED = 256, 64
"""Encoded, and compared with all others, at once."""
MOST_ITEMS, MOST_ASKED = 20_000, 2_000


def sampled(
    text_items: NDArray[np.int32], items: int, asked: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Items [p] to look among, and rows of texts [a] to ask about: all, or of more than MOST_ITEMS so many by lot.

    Args:
        text_items: item of every text [m].
        items: size of the catalogue.
        asked: rows of texts that could be asked about.
        seed: of the lots.
    """
    if items <= MOST_ITEMS:
        return np.arange(items), asked
    rng = np.random.default_rng([seed, 1])
    asked = np.sort(rng.permutation(asked)[:MOST_ASKED])
    needed = np.unique(text_items[asked]).astype(np.int64)
    others = rng.permutation(np.setdiff1d(np.arange(items), needed))[: MOST_ITEMS - len(needed)]
    return np.sort(np.concatenate([needed, others])), asked


@torch.no_grad()
def retrieval_recall(
    model: PretrainingModel, item_factors: Tensor, text_items: Tensor, text: TextBatch, asked: Tensor
) -> dict[str, float]:
    """Recall at 1 and 10, in both directions.

    Args:
        model: after stage 1.
        item_factors: CF vectors [n, d] of the catalogue.
        text_items: item of every text [m]; an item may have several, each of which counts as its own.
        text: all texts [m, t], on any device.
        asked: rows of `text` [a]: each text is asked for its item, and its item for a text of its own.

    Returns:
        `item_to_text_recall_at_1`, `text_to_item_recall_at_10`, … A tie counts against the right answer, so a model to
        which all look alike finds nothing.
    """
    queries = torch.cat([model.query_projection(model.qformer.encode(part)) for part in item_factors.split(BATCH)])
    texts = _text_vectors(model, text)
    text_items = text_items.to(texts.device)
    items = torch.arange(len(item_factors), device=texts.device)
    ranks: dict[str, list[Tensor]] = {"item_to_text": [], "text_to_item": []}
    for rows in asked.to(texts.device).split(COMPARED):
        own = text_items[rows]
        to_texts = losses.query_text_similarity(queries[own], texts)  # [b, m]
        ranks["item_to_text"].append(_ranks(to_texts, text_items == own[:, None]))
        to_items = losses.query_text_similarity(queries, texts[rows]).T  # [b, n]
        ranks["text_to_item"].append(_ranks(to_items, items == own[:, None]))
    return {
        f"{name}_recall_at_{cutoff}": (torch.cat(parts) <= cutoff).float().mean().item()
        for name, parts in ranks.items()
        for cutoff in CUTOFFS
    }


def _ranks(similarity: Tensor, right: Tensor) -> Tensor:
    """1-based rank [b] of the best right answer among the wrong ones; `similarity`, `right` [b, c]."""
    best = similarity.masked_fill(~right, float("-inf")).amax(dim=1, keepdim=True)
    return 1 + ((similarity >= best) & ~right).sum(dim=1)


def _text_vectors(model: PretrainingModel, text: TextBatch) -> Tensor:
    """Projected means [m, p] of texts that see nothing but themselves; texts of like length in one batch."""
    lengths = text.mask.sum(dim=1)
    order = lengths.argsort()
    parts = []
    for rows in order.split(BATCH):
        longest = int(lengths[rows].max())
        mask = text.mask[rows, :longest]
        embedded = model.qformer.embed_text(text.token_ids[rows, :longest])
        hidden = model.qformer(None, embedded, masks.bi_directional(0, mask))
        parts.append(model.text_projection(losses.masked_mean(hidden, mask)))
    return torch.cat(parts)[order.argsort()]
