"""An answer that ran into the limit of tokens ends with the last sentence that is whole."""

import re

_SENTENCE_END = re.compile(r"(?<!^\d)[.!?…][\"'\u201d\u2019)]*(?=\s|$)", re.MULTILINE)
"""The number that begins a line of a list is none."""


def whole_sentences(text: str) -> str:
    """The text up to the end of its last whole sentence; all of it where there is none."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else text
