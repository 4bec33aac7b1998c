"""What is asked of a model, and what it answers. A question is made in microseconds, so its mistakes are told at once;
any number of questions is answered by one pass through the language model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ilm.prompts.example import Example


@dataclass(frozen=True)
class Recommendation:
    """One recommended item; `score` is the retrieval head's logit, comparable within one list."""

    item_id: str
    title: str
    score: float
    cold: bool = False
    """Nobody had met it when the model was made: its vector is a guess from its words (`with_items`)."""


@dataclass(frozen=True)
class Reply:
    """An answer: its words, and the items that they name, best first."""

    text: str
    items: list[Recommendation]
    constraints: str = ""
    """What a conversation demanded in so many words, and what therefore holds of the items: `Comedy; not Animation`."""


Answered = TypeVar("Answered")


@dataclass(frozen=True)
class Question(Generic[Answered]):
    """Prompts to be scored, and how their scores float32 [prompts, n_items] are read."""

    examples: tuple[Example, ...]
    read: Callable[[NDArray[np.float32]], Answered]

    @property
    def longest(self) -> int:
        """Bytes of words and pieces of its longest prompt: a bound of its tokens that costs nothing to know."""
        return max(map(_length, self.examples))


def _length(example: Example) -> int:
    pieces = (piece for turn in example.turns for content in (turn.ask, turn.answer) for piece in content)
    return sum(len(piece.encode()) if isinstance(piece, str) else 1 for piece in pieces)
