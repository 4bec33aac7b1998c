"""What an item is called when its name is generated: its title, or an index string in the manner of OpenP5.

A name is a list of token ids: a space before (as behind a prompt in training), the end token behind, nothing cut off.
Index strings follow OpenP5 (arXiv 2306.11134, section 4): "{dataset} item_{index}", where the index is a number given
at random or in the order of the log, or a path of clusters (`ilm.cf.collaborative_index`).
"""

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ilm.model.language_model import LanguageModel
from ilm.prompts.rendering import title_tokens

FIRST_INDEX = 1001
"""OpenP5 numbers items from here."""


def title_names(language_model: LanguageModel, titles: Sequence[str]) -> list[list[int]]:
    """Token ids of each item's whole title as an answer."""
    return title_tokens(language_model, titles, max_tokens=sys.maxsize)


def index_names(language_model: LanguageModel, dataset: str, indexes: Sequence[str]) -> list[list[int]]:
    """Token ids of each item's index string: OpenP5's target "{dataset} item_{index}"."""
    return title_names(language_model, [f"{dataset} item_{index}" for index in indexes])


def random_indexes(items: int, seed: int) -> list[str]:
    """Numbers from 1001 on, dealt out at random."""
    numbers = np.random.default_rng(seed).permutation(items) + FIRST_INDEX
    return [str(number) for number in numbers.tolist()]


def sequential_indexes(train: Sequence[NDArray[np.int32]], items: int) -> list[str]:
    """Numbers from 1001 on in the order in which items first occur, user after user, so that neighbours in time get
    neighbouring numbers.

    Only the train parts (oldest first) are read: numbered with the held-out items in their places, a number would tell
    the answer. Items without a train interaction follow by item_index (in OpenP5: by their held-out interactions).
    """
    order, first = np.unique(np.concatenate([*train, np.arange(items)]), return_index=True)
    numbers = np.empty(items, np.int64)
    numbers[order[np.argsort(first)]] = np.arange(items) + FIRST_INDEX
    return [str(number) for number in numbers.tolist()]
