"""Index strings: what an item is called when its name is to say nothing, in the manner of OpenP5.

OpenP5 (arXiv 2306.11134, section 4) calls an item "{dataset} item_{index}", where the index is a number given at random
or in the order of the log, or a path of clusters (`ilm.cf.collaborative_index`). A model knows one catalogue, so
the data set's name is left out: every answer would begin with it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FIRST_INDEX = 1001
"""OpenP5 numbers items from here."""


def index_strings(indexes: Sequence[str]) -> list[str]:
    """`item_1001` for every index."""
    return [f"item_{index}" for index in indexes]


def spoken_names(titles: Sequence[str], index_seed: int | None) -> list[str]:
    """What a model was trained to answer with where it spells an item: its title; or, if the model's card has a seed,
    its index string by OpenP5's random indexing."""
    return list(titles) if index_seed is None else index_strings(random_indexes(len(titles), index_seed))


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
