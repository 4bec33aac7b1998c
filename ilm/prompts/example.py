"""What a prompt is before it becomes tokens: words, items and a user, what is said about them, and what is asked.

Words stay words: whatever a title or a template spells, only `Item` and `USER` become soft tokens.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from string import Formatter

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Item:
    """An item's soft tokens. Behind them the retrieval head is asked for the item `following`, if there is one."""

    index: int
    following: int | None = None


@dataclass(frozen=True)
class User:
    """The soft tokens of the user that the example is about."""


USER = User()
Piece = str | Item | User
Content = tuple[Piece, ...]
"""Words, items and users in the order in which they stand; no two strings in a row."""


@dataclass(frozen=True)
class Turn:
    """What is asked, and what is answered.

    The language model learns the words of `answer` and where they end; an empty answer is still to be given. At the
    end of `ask` the retrieval head is asked for the item `target`, if there is one.
    """

    ask: Content
    answer: Content = ()
    target: int | None = None


@dataclass(frozen=True)
class Example:
    """One prompt.

    `profile`: item indexes that the user's vector is folded in from. `chat`: whether the turns stand in the language
    model's chat template; without, there is one turn, and nothing around it.
    """

    turns: tuple[Turn, ...]
    profile: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    chat: bool = True


def fill(template: str, **values: Piece | Iterable[Piece]) -> Content:
    """A template with its `{fields}` replaced; values are never read as templates.

    A space before soft tokens is dropped: in most tokenizers a space belongs to the word behind it, and alone it would
    cost a token of its own.
    """
    pieces: list[Piece] = []
    for literal, name in _parsed(template):
        found: Piece | Iterable[Piece] = values[name] if name is not None else ()
        for piece in (literal, *((found,) if isinstance(found, Piece) else found)):
            if isinstance(piece, str):
                joined = pieces.pop() if pieces and isinstance(pieces[-1], str) else ""
                pieces.append(f"{joined}{piece}")
            else:
                if pieces and isinstance(pieces[-1], str):
                    pieces[-1] = pieces[-1].removesuffix(" ")
                pieces.append(piece)
    return tuple(piece for piece in pieces if piece != "")


@cache
def _parsed(template: str) -> tuple[tuple[str, str | None], ...]:
    return tuple((literal, name) for literal, name, _, _ in Formatter().parse(template))
