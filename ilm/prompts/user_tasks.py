"""Tasks about a user: why an item suits, and conversations that end with what the user really chose next.

A wish that is spoken (a genre, a decade, likeness, something older) is drawn from what is true of the item chosen, so
every answer fulfils it. The answer shows the item's soft tokens before its title: in use, the retrieval head chooses
the item at the end of the question, and the language model speaks from its vector.
"""

import numpy as np
from numpy.typing import NDArray

from ilm.prompts.attributes import Attributes, listed
from ilm.prompts.example import USER, Content, Example, Item, Piece, Turn, fill
from ilm.prompts.item_tasks import facts
from ilm.prompts.material import Material, Row

WHY = (
    "I chose {history} and my taste is {user}. Why would I like {item}?",
    "Why {item} for {user}, who chose {history}?",
)
WHY_SHOWN = 8
"""Items of the history that are shown, and that the reasons are found among."""

CONTEXTS = ("My taste is {user}. I liked {history}. ", "My taste is {user}. ", "I liked {history}. ")
LIKED = 4
"""Most items that a conversation begins with."""
LEADS = ("Recommend", "I want", "Suggest")
WISH = " {what}{when}{like}."
RATHER, SOMETHING_ELSE = "Rather {value}, please.", "Something else, please."
"""How a second turn asks."""
NEIGHBOURS = 50
"""An item is "like" another if it is among so many nearest to it."""


def why(material: Material, row: int, rng: np.random.Generator) -> Example:
    """Why would this user like the item they chose next: the choices closest to it, and what it shares with them."""
    known = material.attributes
    history, target = material.choices["sequential"][row]
    shown = _distinct(history[material.named[history] & (history != target)], WHY_SHOWN)
    reasons = material.closest(shown, target, 2)
    parts = [f"{known.titles[reason]}{_shared(known, target, reason)}" for reason in reasons]
    answer = f"Of these choices, {' and '.join(parts)} {'come' if len(parts) > 1 else 'comes'} closest to it."
    ask = fill(WHY[rng.integers(len(WHY))], history=_items(shown), user=USER, item=Item(target))
    return Example((Turn(ask, (answer,)),), history)


def conversation(material: Material, row: int, rng: np.random.Generator) -> Example:
    """One question and answer, or two: the item chosen last, and then, by another wish, the one chosen next.

    The user's vector is folded in from what came before all items that are asked for.
    """
    history, target = material.choices["sequential"][row]
    previous = int(history[-1])
    two = len(history) > LIKED and material.named[previous] and previous != target and rng.random() < 0.5
    if not two:
        return Example((_opening(material, (history, target), rng),), history)
    first = _opening(material, (history[:-1], previous), rng)
    second = Turn(
        (_other_wish(material.attributes, previous, target, rng),), answer(material.attributes, target), target
    )
    return Example((first, second), history[:-1])


def _opening(material: Material, row: Row, rng: np.random.Generator) -> Turn:
    """What the user is or liked, a wish, and the item that fulfils it."""
    history, target = row
    liked = _items(_distinct(history, int(rng.integers(1, LIKED + 1))))
    template = CONTEXTS[rng.integers(len(CONTEXTS))] + LEADS[rng.integers(len(LEADS))] + WISH
    ask = fill(template, user=USER, history=liked, **_wish(material, history, target, rng))
    return Turn(ask, answer(material.attributes, target), target)


def _wish(
    material: Material, history: NDArray[np.int32], target: int, rng: np.random.Generator
) -> dict[str, Piece | Content]:
    """What the user asks for: each of a value, a decade and a likeness that the target has, with even chances."""
    known = material.attributes
    values, year = known.wishes(target), int(known.years[target])
    named, dated, alike = rng.random(3) < 0.5
    similar = material.closest(history, target, 1)[0]
    return {
        "what": values[rng.integers(len(values))] if named and values else "something",
        "when": f" from the {year // 10 * 10}s" if dated and year else "",
        "like": fill(" like {item}", item=Item(similar))
        if alike and material.is_neighbour(target, similar, NEIGHBOURS)
        else "",
    }


def _other_wish(known: Attributes, previous: int, target: int, rng: np.random.Generator) -> str:
    """A wish that the target fulfils and the previous item does not."""
    wishes = [SOMETHING_ELSE]
    if known.years[previous] and known.years[target]:
        difference = int(np.sign(known.years[target] - known.years[previous]))
        wishes += {-1: ["Something older, please."], 0: [], 1: ["Something newer, please."]}[difference]
    had = known.wishes(previous)
    wishes += [RATHER.format(value=value) for value in known.wishes(target) if value not in had]
    return wishes[rng.integers(len(wishes))]


def answer(known: Attributes, item: int) -> Content:
    """`Try [item] Heat (1995). Genres: Action, Crime.`"""
    words = " ".join([known.name(item), *facts(known, item)])
    return fill("Try {item} {words}", item=Item(item), words=words)


def _shared(known: Attributes, target: int, reason: int) -> str:
    """`, also Crime and Drama,` or nothing."""
    values = [value for column in known.lists for value in known.shared(column, target, reason)]
    return f", also {listed(values)}," if values else ""


def _distinct(history: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """The last `count` different items, oldest first."""
    latest_first = dict.fromkeys(history[::-1].tolist())
    return np.array(list(latest_first)[:count][::-1], np.int32)


def _items(history: NDArray[np.int32]) -> list[Item]:
    return [Item(int(item)) for item in history]
