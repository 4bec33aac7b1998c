"""How long a conversation may be. Counted in tokens, because a text of rare characters has more of them than letters,
and a prompt of 50,000 would keep everybody else waiting for minutes.
"""

from collections.abc import Sequence

from ilm.errors import LookupFailed
from ilm.model.language_model import LanguageModel
from ilm.prompts.rendering import tokenise

MOST_CHARACTERS = 20_000
"""A first glance."""
MOST_TOKENS = 4_096
"""Of one prompt's words."""
MOST_TOKENS_EXPLAINED = 16_384
"""Of all prompts together that an explanation asks."""


def require_readable(language_model: LanguageModel, messages: Sequence[str]) -> int:
    """The number of their tokens.

    Raises:
        LookupFailed: there are too many, or half a character is among them.
    """
    length = sum(map(len, messages))
    if length > MOST_CHARACTERS:
        raise LookupFailed(
            f"the conversation has {length:,} characters; {MOST_CHARACTERS:,} can be read. Begin a new one."
        )
    for number, message in enumerate(messages, start=1):
        if not _is_whole(message):
            raise LookupFailed(f"message {number} has half a character (a lone surrogate). Send whole ones.")
    tokens = sum(map(len, tokenise(language_model, messages)))
    if tokens > MOST_TOKENS:
        raise LookupFailed(f"the conversation has {tokens:,} tokens; {MOST_TOKENS:,} can be read. Begin a new one.")
    return tokens


def require_explicable(tokens: int, prompts: int) -> None:
    """That so many prompts of so many tokens are not too much to ask for one explanation.

    Raises:
        LookupFailed: they are.
    """
    if tokens * prompts > MOST_TOKENS_EXPLAINED:
        raise LookupFailed("the conversation is too long to be explained. Ask why in a new one.")


def _is_whole(text: str) -> bool:
    """Whether it can be written; JSON may spell halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
