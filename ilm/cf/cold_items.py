"""A CF vector for an item that nobody has met yet, from its words: ridge regression from the texts of the others.

Features are the words of an item's texts, each once, weighted by how few items have it (idf), hashed into a fixed
number of places with a fixed hash, and brought to unit length. Closed form: equal texts and vectors, equal map.
"""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

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
        counts = _counts([texts[item] for item in known.tolist()])
        self._idf = np.log((1 + len(known)) / (1 + np.asarray((counts > 0).sum(axis=0)).ravel())) + 1.0
        features, wanted = self._weighted(counts), vectors[known].astype(np.float64)
        self._mean = wanted.mean(axis=0)
        gram = np.asarray((features.T @ features).todense()) + ridge * np.eye(PLACES)
        self._map = np.linalg.solve(gram, features.T @ (wanted - self._mean))  # [PLACES, d]

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors [m, d] of items with these words; without a known word, the mean item's."""
        out: NDArray[np.float32] = (self._weighted(_counts(texts)) @ self._map + self._mean).astype(np.float32)
        return out

    def _weighted(self, counts: csr_matrix) -> csr_matrix:
        weighted = counts.multiply(self._idf).tocsr()
        lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1))).ravel()
        return weighted.multiply(1.0 / np.maximum(lengths, 1e-12)[:, None]).tocsr()


def _counts(texts: Sequence[str]) -> csr_matrix:
    """[n, PLACES], 1.0 where a text has a word of that place."""
    places = [sorted({_place(word) for word in _WORD.findall(text.lower())}) for text in texts]
    rows = np.repeat(np.arange(len(texts)), [len(of) for of in places])
    columns = np.array([place for of in places for place in of], dtype=np.int64)
    return csr_matrix((np.ones(len(columns)), (rows, columns)), shape=(len(texts), PLACES))


def _place(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "little") % PLACES
