"""What a conversation demands in plain words: "no horror", "nothing animated", "from the 90s", "something older".

Only what is stated beyond doubt becomes a constraint: a common value of the catalogue by its name, its refusal, a year.
Everything else the messages say is left to the model, which ranks by it (docs/decisions/wishes.md).
"""

import re
from collections.abc import Mapping, Sequence

from ilm.prompts.attributes import Attributes
from ilm.prompts.catalogue import Catalogue, Mention
from ilm.prompts.constraints import Constraints
from ilm.prompts.conversation import Messages, is_why
from ilm.prompts.stated_years import stated_years

_CLAUSE = re.compile(r"[.;:!?\n]+|\b(?:but|though|however)\b")
_NEW_WISH = re.compile(r"^\s*(?:an?|some|something|more|just|only|maybe|i|give|show)\b|\b(?:please|instead|rather)\b")
"""Behind a comma: a wish of its own, where "no horror, war or western" goes on refusing."""
_REFUSAL = re.compile(
    r"\b(?:no|not|nothing|none|without|except|excluding|avoid|hate|dislike|less|isn't|don't|doesn't|other than)\b"
)
_ANYTHING_BUT = re.compile(r"\b(?:anything|everything|all) but\b")
_NO_REFUSAL = re.compile(
    r"\bnot (?:only|just|necessarily|sure)\b|\bno (?:matter|idea|preference|thanks)\b"
    r"|\bdon't (?:mind|care|know)[^,.;!?]*"
)
_STEM, _STEM_SHARE = 5, 0.6
"""How many letters, and what share of the longer word, two words begin with alike if a refusal means both."""


def stated(messages: Messages, known: Attributes, catalogue: Catalogue) -> Constraints:
    """What all messages of the user together demand of the next answer.

    A later value of a column replaces an earlier one, refusals add up, a value that is asked for is refused no longer,
    and of years the last word counts. "Older" and "newer" are meant against the first item of the last list.

    Args:
        messages: what was said.
        known: what items have.
        catalogue: to take titles out of the words: "War of the Worlds" asks for no war.
    """
    wanted: dict[str, tuple[str, ...]] = {}
    refused: dict[str, tuple[str, ...]] = {}
    first: int | None = None
    last: int | None = None
    shown: int | None = None  # year of the first item of the last list
    why = False
    for message in messages:
        mentions = catalogue.mentions(message["content"])
        if message["role"] == "assistant":
            if not why:
                shown = int(known.years[mentions[0].items[0]]) or None if mentions else None
            continue
        why = is_why(message["content"])
        said = _without_titles(message["content"], mentions, known).casefold().replace("\u2019", "'")
        asked, declined = _values(said, known)
        wanted |= asked
        for column, values in declined.items():
            refused[column] = tuple(dict.fromkeys((*refused.get(column, ()), *values)))
        refused = _minus(refused, asked)
        wanted = _minus(wanted, declined)
        years = stated_years(said, shown)
        if years is not None:
            first, last = years
    return Constraints(wanted, refused, first, last)


def _values(said: str, known: Attributes) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """The common values that a message asks for, and those that it refuses, by column."""
    asked: dict[str, list[str]] = {}
    declined: dict[str, list[str]] = {}
    wishes, refusals = _wishes_and_refusals(_NO_REFUSAL.sub(" ", _ANYTHING_BUT.sub(" without ", said)))
    for column, values in known.common.items():
        for value in sorted(values):
            if _names(wishes, value):
                asked.setdefault(column, []).append(value)
            if _names(refusals, value) or _alike(refusals, value):
                declined.setdefault(column, []).append(value)
    return {name: tuple(of) for name, of in asked.items()}, {name: tuple(of) for name, of in declined.items()}


def _wishes_and_refusals(said: str) -> tuple[str, str]:
    """The words of a message that wish, and those that refuse: behind "no" or the like, to the end of the clause."""
    wishes, refusals = [], []
    for clause in _CLAUSE.split(said):
        refusing = False
        for part in clause.split(","):
            refusal = _REFUSAL.search(part)
            if refusal:
                wishes.append(part[: refusal.start()])
                refusals.append(part[refusal.end() :])
                refusing = True
            else:
                refusing = refusing and not _NEW_WISH.search(part)
                (refusals if refusing else wishes).append(part)
    return " … ".join(wishes), " … ".join(refusals)


def _names(said: str, value: str) -> bool:
    """Whether words name a value as it is spelled, in any case, in the singular or the plural."""
    name = re.escape(value.casefold())
    forms = [name, name + "e?s", *([name[:-1] + "ies"] if name.endswith("y") else [])]
    forms += [name.replace(r"\-", "[- ]?")] if r"\-" in name else []
    return re.search(rf"(?<!\w)(?:{'|'.join(forms)})(?!\w)", said) is not None


def _alike(said: str, value: str) -> bool:
    """Whether a word of the text begins as the value does, such as "animated" and Animation."""
    name = value.casefold()
    return any(_begin_alike(word, name) for word in re.findall(r"\w+", said))


def _begin_alike(word: str, name: str) -> bool:
    shared = next((at for at, (a, b) in enumerate(zip(word, name, strict=False)) if a != b), min(len(word), len(name)))
    return shared >= _STEM and shared >= _STEM_SHARE * max(len(word), len(name))


def _without_titles(text: str, mentions: Sequence[Mention], known: Attributes) -> str:
    """The text with an ellipsis for each title; behind "older than" or the like, with its year."""
    for found in reversed(mentions):
        year = int(known.years[found.items[0]])
        compared = year and text[: found.start].casefold().rstrip().endswith(" than")
        text = f"{text[: found.start]}{year if compared else '…'}{text[found.end :]}"
    return text


def _minus(values: Mapping[str, tuple[str, ...]], gone: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Values by column without others; columns of which nothing is left are dropped."""
    left = {column: tuple(v for v in of if v not in gone.get(column, ())) for column, of in values.items()}
    return {column: of for column, of in left.items() if of}
