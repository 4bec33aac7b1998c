"""A CF vector for an item that nobody has met yet, from its words: ridge regression from the texts of the others.

Features are the words of an item's texts, each once, weighted by how few items have it (idf), hashed into a fixed
number of places with a fixed hash, and brought to unit length. Closed form: equal texts and vectors, equal map.
"""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ilm.errors import DataError

PLACES = 4096
RIDGE = 3.0
"""Weight of the squared length of the map; features have length 1 (docs/decisions/continuity.md)."""
_WORD = re.compile(r"\w+")


class TextMap:
    """The map from an item's texts to its CF vector."""

    def __init__(self, texts: Sequence[str], vectors: NDArray[np.float32], ridge: float = RIDGE) -> None:
        """Learn from items that have both.

        Args:
            texts: [n] all words of each item.
            vectors: [n, d] CF vectors; those that are all zeros (no interaction) are left out.
            ridge: penalty, > 0.

        Raises:
            DataError: no item has a vector.
        """
        known = np.flatnonzero(vectors.any(axis=1))
        if not len(known):
            raise DataError("no item has a CF vector, so none can be learned from texts. Run `dvc repro cf`.")
        places = [_places(texts[item]) for item in known.tolist()]
        counts = np.bincount(np.concatenate(places), minlength=PLACES)
        self._idf = np.log((1 + len(known)) / (1 + counts)) + 1.0
        wanted = vectors[known].astype(np.float64)
        self._mean = wanted.mean(axis=0)
        gram, right = ridge * np.eye(PLACES), np.zeros((PLACES, wanted.shape[1]))
        for item, vector in zip(places, wanted - self._mean, strict=True):  # few words each: no matrix is needed
            weights = self._weights(item)
            gram[np.ix_(item, item)] += np.outer(weights, weights)
            right[item] += np.outer(weights, vector)
        self._map = np.linalg.solve(gram, right)  # [PLACES, d]

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors [m, d] of items with these words; without a known word, the mean item's."""
        rows = [self._weights(item) @ self._map[item] for item in map(_places, texts)]
        out: NDArray[np.float32] = (np.array(rows).reshape(-1, len(self._mean)) + self._mean).astype(np.float32)
        return out

    def _weights(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of an item's places; of length 1."""
        weights: NDArray[np.float64] = self._idf[places]
        return weights / max(float(np.linalg.norm(weights)), 1e-12)


def _places(text: str) -> NDArray[np.int64]:
    """Where the words of a text are counted, each place once, in order."""
    return np.array(sorted({_place(word) for word in _WORD.findall(text.lower())}), dtype=np.int64)


def _place(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "little") % PLACES
