"""How alike two items' texts are: the words they share, rare ones first. For explanations, not for ranking."""

import math
import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"\w+")


class WordOverlap:
    """Cosine of idf-weighted sets of words, over all texts of a catalogue."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._words = [frozenset(_WORD.findall(text.casefold())) for text in texts]
        counts = Counter(word for words in self._words for word in words)
        self._weights = {word: math.log(len(texts) / count) ** 2 for word, count in counts.items()}

    def __call__(self, one: int, other: int) -> float:
        """From 0, no word in common that tells them from the rest, to 1, the same words."""
        shared = self._weight(self._words[one] & self._words[other])
        scale = math.sqrt(self._weight(self._words[one]) * self._weight(self._words[other]))
        return shared / scale if scale else 0.0

    def _weight(self, words: frozenset[str]) -> float:
        return sum(sorted(self._weights[word] for word in words))
