"""The retrieval check of stage 1 as a table: recall in both directions, with what chance would find beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilm.train.retrieval_check import CUTOFFS


def retrieval_table(
    history: Sequence[Mapping[str, float]], text_items: NDArray[np.int32], items: int
) -> list[dict[str, Any]]:
    """One row per direction: {"direction", "among": how many candidates, "recall_at_1", "chance_at_1", …}.

    Args:
        history: the training records of stage 1 (`ilm.train.retrieval_check` writes into the last one).
        text_items: the item of each text [m].
        items: size n of the catalogue.

    Returns:
        No rows where nothing was checked: another encoder, another recipe, nothing held out.
    """
    last = history[-1] if history else {}
    own = np.bincount(text_items)
    own = own[own > 0]
    texts = int(last.get("retrieval_texts", len(text_items)))  # of a large catalogue, a sample
    items = int(last.get("retrieval_items", items))
    chance = {
        "item_to_text": {cutoff: _found_by_chance(own, texts, cutoff) for cutoff in CUTOFFS},
        "text_to_item": {cutoff: min(1.0, cutoff / items) for cutoff in CUTOFFS},
    }
    among = {"item_to_text": texts, "text_to_item": items}
    return [
        {"direction": direction, "among": among[direction]}
        | {f"recall_at_{cutoff}": last[f"{direction}_recall_at_{cutoff}"] for cutoff in CUTOFFS}
        | {f"chance_at_{cutoff}": chances[cutoff] for cutoff in CUTOFFS}
        for direction, chances in chance.items()
        if f"{direction}_recall_at_{CUTOFFS[0]}" in last
    ]


def _found_by_chance(own: NDArray[np.int64], texts: int, cutoff: int) -> float:
    """Chance that `cutoff` of all texts, drawn without putting back, hold one of an item's `own`; mean over items."""
    missed = np.ones(len(own))
    for drawn in range(min(cutoff, texts)):
        missed *= np.maximum(texts - own - drawn, 0) / (texts - drawn)
    return float(1 - missed.mean())
