"""Wishes that a held-out item fulfils, in the words of training and in words that training never used."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilm.prompts.attributes import Attributes
from ilm.prompts.user_tasks import LEADS, NEIGHBOURS, RATHER, SOMETHING_ELSE, WISH
from ilm.prompts.wishes import has_value

KINDS = ("value", "decade", "likeness")
"""A value of a list such as genres; a decade; like an item of the history."""
HELD_OUT: dict[str, tuple[str, str]] = {
    "value": ("Could you find me a good {value} title?", "What is worth my time if {value} is what I am after?"),
    "decade": (
        "What came out between {first} and {last} that suits me?",
        "Anything made in the years {first} to {last}?",
    ),
    "likeness": ("Could you find me one in the spirit of {title}?", "Which one would a fan of {title} pick?"),
}
"""Wordings that training has not: a test holds them against it."""
NOT_QUITE = "Not quite. {wish}"
"""How these begin a second turn."""


@dataclass(frozen=True)
class Wish:
    """What a user asks for.

    `fulfilled` bool [n_items]: the items of the catalogue that have it. `says`: turn -> message; a turn is the first or
    the second question (behind an answer to the first one), and tells the wish in seen or unseen words, or not at all.
    """

    kind: str
    fulfilled: NDArray[np.bool_]
    says: dict[str, str]


def draw_wish(
    known: Attributes,
    directions: NDArray[np.float32],
    history: NDArray[np.int32],
    target: int,
    rng: np.random.Generator,
) -> Wish | None:
    """One of the kinds of wishes that the target fulfils, with even chances; None if it fulfils none.

    Args:
        known: of all items.
        directions: CF vectors [n_items, d] at unit length.
        history: item indexes before the target.
        target: the held-out item.
        rng: draws kind, value and wordings.
    """
    values, year = known.wishes(target), int(known.years[target])
    likes = history[known.active[history] & (history != target)]
    similar = int(likes[np.argmax(directions[likes] @ directions[target])]) if len(likes) else -1
    near = nearest(directions, similar) if len(likes) else np.zeros(len(directions), np.bool_)
    possible = [kind for kind, has in zip(KINDS, (values, year, near[target]), strict=True) if has]
    if not possible:
        return None
    kind = possible[rng.integers(len(possible))]
    lead, held_out = LEADS[rng.integers(len(LEADS))], HELD_OUT[kind][rng.integers(len(HELD_OUT[kind]))]
    nothing = {"what": "something", "when": "", "like": ""}
    if kind == "value":
        value = values[rng.integers(len(values))]
        said, again = {"what": value}, RATHER.format(value=value)
        fulfilled, held_out = has_value(known, value), held_out.format(value=value)
    elif kind == "decade":
        first = year // 10 * 10
        said, again = {"when": f" from the {first}s"}, None
        fulfilled, held_out = known.years // 10 * 10 == first, held_out.format(first=first, last=first + 9)
    else:
        title = known.titles[similar]
        said, again = {"like": f" like {title}"}, None
        fulfilled, held_out = near, held_out.format(title=title)
    seen = lead + WISH.format(**nothing | said)
    return Wish(
        kind,
        fulfilled,
        {
            "first_without": lead + WISH.format(**nothing),
            "first_seen": seen,
            "first_unseen": held_out,
            "second_without": SOMETHING_ELSE,
            "second_seen": again or seen,
            "second_unseen": NOT_QUITE.format(wish=held_out),
        },
    )


def nearest(directions: NDArray[np.float32], item: int, count: int = NEIGHBOURS) -> NDArray[np.bool_]:
    """[n_items] the `count` other items nearest to an item by cosine; what is as near as the last of them, too.

    Args:
        directions: CF vectors [n_items, d] at unit length.
        item: whose neighbours.
        count: how many.
    """
    similarity = directions @ directions[item]
    similarity[item] = -np.inf
    least = np.sort(similarity)[::-1][min(count, len(similarity) - 1) - 1]
    near: NDArray[np.bool_] = (similarity >= least) & (similarity > -np.inf)
    return near
