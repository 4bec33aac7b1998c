"""Wishes in many words, made from the catalogue and from histories: what the retrieval head learns to hear from.

A criterion is something that items have or have not: a value of a list such as genres, a decade, to be from before one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilm.prompts.attributes import Attributes
from ilm.prompts.conversation import context
from ilm.prompts.example import Content, Example, Item, Turn, fill
from ilm.prompts.material import Material
from ilm.prompts.user_tasks import RATHER, SOMETHING_ELSE, answer

WORDINGS = (
    "I want {wish}.",
    "Recommend {wish}.",
    "Suggest {wish}.",
    "I would like {wish}.",
    "I am looking for {wish}.",
    "Show me {wish}.",
    "Do you have {wish}?",
    "Any {wish}?",
    "I feel like {wish}.",
    "How about {wish}?",
    "Give me {wish}, please.",
    "What {wish} would you recommend?",
    "{wish}",
    RATHER.replace("{value}", "{wish}"),
    "More {wish}.",
    "Is there {wish} that fits me?",
    "Find me {wish}.",
    "I am in the mood for {wish}.",
)
REFUSALS = (
    "No {wish}, please.",
    "Not {wish}.",
    "Anything but {wish}.",
    "I do not like {wish}.",
    "Something without {wish}.",
)
NOTHING = ("something", "anything", "a recommendation")
LIKE = ("something like {title}", "something similar to {title}")
"""What needs no words to be heard: the item's soft tokens stand before its title."""
VALUES = ("{value}", "a {value}", "some {value}", "a good {value}", "something with {value}")
DECADES = ("something from the {first}s", "something of the {first}s", "one made in the {first}s")
BEFORE = ("something from before {first}", "something older than {first}")
AFTER = ("something from after {first}", "something newer than {first}")
OLDER, NEWER = "Something older, please.", "Something newer, please."
SECOND, TWO_DECADES, SAY_NOTHING, SAY_LIKE, REFUSE = 0.3, 0.2, 0.15, 0.1, 0.15
"""Shares: of second turns; of values that are asked for with a decade; of messages without a wish, of wishes for
likeness; of refusals among values."""
FEWEST, MOST = 20, 200
"""Items that a decade must have; values that can be asked for, those of most items."""


Asked = tuple[str, str | int]
"""("value", "Comedy"); ("decade", 1990); ("before", 1990): from before that year."""


@dataclass(frozen=True)
class Criteria:
    """What can be asked for: `asked` by number, and `has` bool [n_items, c]: whether an item has it."""

    asked: list[Asked]
    has: NDArray[np.bool_]


@dataclass(frozen=True)
class Wished:
    """`example`: a conversation whose last answer is still to be given. `wanted` [c]: 1 what its last message asks for,
    -1 what it refuses, 0 what it says nothing about."""

    example: Example
    wanted: NDArray[np.float64]


def criteria(known: Attributes) -> Criteria:
    """The values that many active items share, the decades that have FEWEST of them, and to be from before each."""
    years = np.where(known.active, known.years, 0)
    decades = [
        int(first) for first in np.unique(years // 10 * 10) if first and (years // 10 * 10 == first).sum() >= FEWEST
    ]
    columns = {value: has_value(known, value) for values in known.common.values() for value in sorted(values)}
    values = sorted(sorted(columns, key=lambda value: (-(columns[value] & known.active).sum(), value))[:MOST])
    has = [columns[value] for value in values]
    has += [known.years // 10 * 10 == first for first in decades]
    has += [(known.years > 0) & (known.years < first) for first in decades[1:]]
    asked: list[Asked] = [("value", value) for value in values]
    asked += [("decade", first) for first in decades] + [("before", first) for first in decades[1:]]
    nothing = np.zeros((len(known.titles), 0), np.bool_)
    return Criteria(asked, np.stack(has, axis=1) if has else nothing)


def has_value(known: Attributes, value: str) -> NDArray[np.bool_]:
    """[n_items] whether an item has the value in any of its lists."""
    columns = known.lists.values()
    return np.array([any(value in values for values in of_item) for of_item in zip(*columns, strict=True)], np.bool_)


def wished(material: Material, found: Criteria, count: int, seed: int) -> list[Wished]:
    """Conversations that end with a wish, each criterion as often as any other; some with a refusal or with no wish.

    Args:
        material: histories, and what is known of the items.
        found: the criteria of its catalogue, at least one.
        count: how many; each is drawn by itself.
        seed: of all draws.
    """
    return [_drawn(material, found, number, np.random.default_rng([seed, number])) for number in range(count)]


def _drawn(material: Material, found: Criteria, number: int, rng: np.random.Generator) -> Wished:
    choices, wanted = material.choices["sequential"], np.zeros(len(found.asked))
    history = choices.histories[rng.integers(len(choices.histories))]
    second, place = rng.random() < SECOND, number % len(found.asked)
    kind, what = found.asked[place]
    fate, active = rng.random(), material.attributes.active
    previous = int(rng.choice(np.flatnonzero(active)))
    words: str | Content
    if fate < SAY_NOTHING:
        words = SOMETHING_ELSE if second else _one(WORDINGS, rng).format(wish=_one(NOTHING, rng))
    elif fate < SAY_NOTHING + SAY_LIKE:
        like = int(rng.choice(np.flatnonzero(active)))
        wording = _one(WORDINGS, rng).format(wish=_one(LIKE, rng).replace("{title}", "{item} {title}"))
        words = fill(wording, item=Item(like), title=material.attributes.titles[like])
    elif kind == "value" and rng.random() < REFUSE:
        words, wanted[place] = _one(REFUSALS, rng).format(wish=what), -1
    elif kind == "value":
        words, wanted[place] = _one(VALUES, rng).format(value=what), 1
        others = [number for number, (other, _) in enumerate(found.asked) if other == "decade"]
        if others and rng.random() < TWO_DECADES:
            other = others[rng.integers(len(others))]
            words, wanted[other] = f"{words} from the {found.asked[other][1]}s", 1
        words = _one(WORDINGS, rng).format(wish=words)
    elif kind == "decade":
        words, wanted[place] = _one(WORDINGS, rng).format(wish=_one(DECADES, rng).format(first=what)), 1
    else:
        wanted[place] = 1 if rng.random() < 0.5 else -1
        older = wanted[place] > 0
        if second:  # than the item of the first answer
            words = OLDER if older else NEWER
            previous = int(rng.choice(np.flatnonzero(active & (material.attributes.years // 10 * 10 == what))))
        else:
            words = _one(WORDINGS, rng).format(wish=_one(BEFORE if older else AFTER, rng).format(first=what))
    return Wished(Example(_turns(material.attributes, words, history, previous if second else None), history), wanted)


def _turns(
    known: Attributes, words: str | Content, history: NDArray[np.int32], previous: int | None
) -> tuple[Turn, ...]:
    said = (words,) if isinstance(words, str) else words
    if previous is None:
        return (Turn(fill("{before}{said}", before=context(history), said=said)),)
    opening = fill("{before}{said}", before=context(history), said=f"Recommend {NOTHING[0]}.")
    return (Turn(opening, answer(known, previous)), Turn(said))


def _one(wordings: tuple[str, ...], rng: np.random.Generator) -> str:
    return wordings[rng.integers(len(wordings))]
