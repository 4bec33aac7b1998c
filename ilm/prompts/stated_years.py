"""Years that a message names: "from the 90s", "before 1980", "between 1990 and 1995", "something older"."""

import re

_OLDER, _NEWER = re.compile(r"\b(?:older|earlier)\b(?! than)"), re.compile(r"\b(?:newer|later|more recent)\b(?! than)")
_DECADE_WORDS = {word: f"{tens}0s" for tens, word in enumerate(
    ("twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties"), start=2
)}  # fmt: skip
_DECADE = re.compile(r"\b(?:the |early |late |mid-?)?(?:(1[89]|20)(\d)0|'?(\d)0)'?s\b")
_BEFORE = re.compile(r"\b(?:before|older than|earlier than|until)\s+(\d{4})\b")
_AFTER = re.compile(r"\b(?:after|newer than|later than)\s+(\d{4})\b")
_SINCE = re.compile(r"\b(?:since\s+(\d{4})\b|from\s+(\d{4})\s+on)")
_BETWEEN = re.compile(r"\b(?:between|from)\s+(\d{4})\s*(?:and|to|-|\u2013)\s*(\d{4})\b")
_YEAR = re.compile(r"\b(?:from|of|in)\s+(\d{4})\b")
_REFUSED = re.compile(r"\b(?:no|not|nothing|without|except)\b")
_YOUNGEST_SHORT_DECADE = 2
"""'00s to '20s are of this century; '30s to '90s of the last one."""


def stated_years(said: str, shown: int | None) -> tuple[int | None, int | None] | None:
    """First and last year that a message demands; None if it says nothing of years.

    Args:
        said: the message in lower case, titles taken out.
        shown: year of the item that "older" and "newer" are meant against, if there is one.
    """
    said = re.sub(r"\b\w+ties\b", lambda word: _DECADE_WORDS.get(word[0], word[0]), said)
    between = _BETWEEN.search(said)
    if between:
        low, high = sorted((int(between[1]), int(between[2])))
        return low, high
    before, after, since = (pattern.search(said) for pattern in (_BEFORE, _AFTER, _SINCE))
    if before or after or since:
        first = int(after[1]) + 1 if after else int(since[1] or since[2]) if since else None
        return first, int(before[1]) - 1 if before else None
    decade, year = _DECADE.search(said), _YEAR.search(said)
    if decade and not _REFUSED.search(said[: decade.start()]):
        start = _first_of_decade(decade)
        return start, start + 9
    if year:
        return int(year[1]), int(year[1])
    if shown and _OLDER.search(said):
        return None, shown - 1
    if shown and _NEWER.search(said):
        return shown + 1, None
    return None


def _first_of_decade(found: re.Match[str]) -> int:
    if found[1]:
        return int(f"{found[1]}{found[2]}0")
    return (2000 if int(found[3]) <= _YOUNGEST_SHORT_DECADE else 1900) + 10 * int(found[3])
