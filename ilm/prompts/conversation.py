"""A conversation as the model was trained on conversations (`ilm.prompts.user_tasks`), and the words of a reply."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ilm.errors import LookupFailed
from ilm.prompts.attributes import Attributes
from ilm.prompts.catalogue import Catalogue
from ilm.prompts.example import USER, Content, Example, Item, Piece, Turn, fill
from ilm.prompts.item_tasks import facts
from ilm.prompts.user_tasks import CONTEXTS, LIKED

Messages = Sequence[Mapping[str, str]]
"""{"role": "user" or "assistant", "content": words}, in turn, the user's first and last."""
_PLACES = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4, "last": -1}
_WHICH = re.compile(rf"\b(?:{'|'.join(_PLACES)})\b", re.IGNORECASE)
_WHY = re.compile(r"\W*(?:why\b(?! (?:not|don't)\b)|how come\b|what makes\b)", re.IGNORECASE)


def as_example(messages: Messages, seen: NDArray[np.int32], catalogue: Catalogue) -> tuple[Example, list[int]]:
    """The conversation with its last answer still to be given, and the items that its messages name.

    Before the first message stands what is known of the user: the vector, and the last items seen. Before each title
    stand the item's soft tokens.

    Args:
        messages: what was said.
        seen: item indexes, oldest first.
        catalogue: to find titles by.

    Raises:
        LookupFailed: the messages are not as they should be.
    """
    _require_turns(messages)
    mentioned: list[int] = []
    contents = []
    for message in messages:
        content, items = _content(message["content"].strip(), catalogue)
        contents.append(content)
        mentioned += items
    contents[0] = (*context(seen), *contents[0])
    answers = [*contents[1::2], ()]
    turns = tuple(Turn(ask, answer) for ask, answer in zip(contents[::2], answers, strict=True))
    return Example(turns, seen), mentioned


def asked_about(messages: Messages, catalogue: Catalogue) -> tuple[int, Messages] | None:
    """The item that the last message wants explained, and the conversation whose answer it was.

    It is the item that the message names, or the first one of the last list, or which one it says ("why the second?").
    None if the message asks for something else, or if there was no list yet.
    """
    asked = messages[-1]["content"]
    lists = [place for place in range(1, len(messages), 2) if not is_why(messages[place - 1]["content"])]
    if not lists or not is_why(asked):
        return None
    shown, before = catalogue.mentions(messages[lists[-1]]["content"]), messages[: lists[-1]]
    named, which = catalogue.mentions(asked), _WHICH.search(asked)
    place = _PLACES[which[0].casefold()] if which else 0
    if named:
        return named[0].items[0], before
    return (shown[place].items[0], before) if shown and place < len(shown) else None


def is_why(words: str) -> bool:
    """Whether a message asks for an explanation."""
    return _WHY.match(words) is not None


def reply_text(known: Attributes, items: Sequence[int], constraints: str = "") -> str:
    """`Try Heat (1995). Genres: Action, Crime.` for the first item, `Or …` on a line of its own for each other.

    `constraints` are named where they leave no item.
    """
    if not items:
        left = f" that is: {constraints}. Ask for less of it at once" if constraints else " to recommend"
        return f"Nothing is left{left}."
    lines = [" ".join([known.name(item), *facts(known, item)]) for item in items]
    return "\n".join(f"{'Or' if number else 'Try'} {line}" for number, line in enumerate(lines))


def _require_turns(messages: Messages) -> None:
    if not messages or len(messages) % 2 == 0:
        raise LookupFailed(f"there are {len(messages)} messages; the last one must be the user's, to be answered.")
    for number, message in enumerate(messages):
        wanted = ("user", "assistant")[number % 2]
        if message.keys() != {"role", "content"} or message["role"] != wanted:
            raise LookupFailed(
                f"message {number + 1} is {dict(message)}; it must be {{'role': '{wanted}', 'content': ...}}: user and "
                "assistant take turns, and the user begins."
            )
        if not message["content"].strip():
            raise LookupFailed(f"message {number + 1} is empty. Say something, or leave it out.")


def context(seen: NDArray[np.int32]) -> Content:
    """What stands before a first message: the user's vector, and the last items seen."""
    if not len(seen):
        return ()
    latest = list(dict.fromkeys(seen[::-1].tolist()))[:LIKED][::-1]
    return fill(CONTEXTS[0], user=USER, history=[Item(item) for item in latest])


def _content(text: str, catalogue: Catalogue) -> tuple[Content, list[int]]:
    """A message with an item's soft tokens before its title, if the title is one item's; and all items named."""
    pieces: list[Piece] = []
    mentions = catalogue.mentions(text)
    end = 0
    for mention in mentions:
        if len(mention.items) == 1:
            before = text[end : mention.start]
            pieces += [before.removesuffix(" "), Item(mention.items[0])]
            end = mention.start - before.endswith(" ")  # a space belongs to the word behind the soft tokens
    pieces.append(text[end:])
    return tuple(piece for piece in pieces if piece != ""), [item for mention in mentions for item in mention.items]
