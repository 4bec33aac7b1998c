"""Five test users as they come: what they had, what is recommended, and a short conversation with each.

Nothing is chosen by its outcome: users stand at even distances in the list of test users, and what each one asks for
follows from a fixed plan and from the items before the held-out one.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilm.eval.metrics import MISSED
from ilm.eval.protocol import Cases, target_ranks
from ilm.eval.wishes import nearest
from ilm.prompts.attributes import Attributes
from ilm.prompts.catalogue import Catalogue
from ilm.prompts.conversation import reply_text
from ilm.prompts.user_tasks import LEADS, RATHER, SOMETHING_ELSE, WISH
from ilm.prompts.wishes import has_value
from ilm.rank.conversation import answer
from ilm.rank.head import HeadRecommender

USERS = 5
SHOWN = 6
"""Items of a history that are listed."""
LISTED = 5
"""Recommended items."""
ANSWERS = 3
"""Items in a reply."""
PLAN = (
    ({"value"}, "older"),
    ({"decade"}, "newer"),
    ({"value", "decade"}, "other value"),
    ({"like"}, "older"),
    ({"value", "like"}, "newer"),
)
"""What each user asks for first and then, as far as the catalogue knows such things."""


@dataclass(frozen=True)
class Ask:
    """A message, and its wishes: in words -> the items [n] bool of the catalogue that fulfil it."""

    words: str
    wishes: dict[str, NDArray[np.bool_]]


class Showcase:
    """The model at work for some users.

    Args:
        ranker: the model, ready to rank.
        catalogue, attributes: titles and attributes of the same n items.
        directions: CF vectors [n, d] at unit length, which say what is alike.
        candidates: [n] what may be recommended, as in `target_ranks`.
    """

    def __init__(
        self,
        ranker: HeadRecommender,
        catalogue: Catalogue,
        attributes: Attributes,
        directions: NDArray[np.float32],
        candidates: NDArray[np.bool_],
    ) -> None:
        self._ranker, self._catalogue, self._known = ranker, catalogue, attributes
        self._directions, self._candidates = directions, candidates

    def users(self, cases: Cases) -> list[dict[str, Any]]:
        """What is shown of the users of `even_cases`.

        Returns:
            Per user {"user": user_index, "history": last titles, "length" of the history, "held_out": title, "rank"
            among unseen items (null if the item was no candidate), "recommended": titles, "conversation": turns
            {"ask", "answer", "wishes": [{"wish", "fulfilled": by each item of the answer, "share": of the active items
            that fulfil it}]}}.
        """
        titles, chosen = self._known.titles, even_cases(cases)
        ranking = target_ranks(self._ranker, "sequential", chosen, self._candidates, len(chosen.targets), "showcase")
        return [
            {
                "user": int(user),
                "history": [titles[item] for item in seen[-SHOWN:]],
                "length": len(seen),
                "held_out": titles[target],
                "rank": int(rank) if rank < MISSED else None,
                "recommended": [titles[item] for item in top[:LISTED] if item >= 0],
                "conversation": self.conversation(number, seen),
            }
            for number, (user, target, seen, rank, top) in enumerate(
                zip(chosen.user_index, chosen.targets, chosen.seen, ranking.filtered, ranking.top, strict=True)
            )
        ]

    def conversation(self, number: int, seen: NDArray[np.int32]) -> list[dict[str, Any]]:
        """Two questions and answers by entry `number` of the PLAN, of a user who has seen these items."""
        messages: list[dict[str, str]] = []
        turns: list[dict[str, Any]] = []
        items: list[int] = []
        for turn in range(2):
            ask = self._second(number, seen, items) if turn else self._first(number, seen)
            messages.append({"role": "user", "content": ask.words})
            (found,) = answer(self._ranker, self._catalogue, [messages], [seen], ANSWERS)
            items, words = found.items, reply_text(self._known, found.items)
            messages.append({"role": "assistant", "content": words})
            turns.append({"ask": ask.words, "answer": words, "wishes": self._judged(ask, items)})
        return turns

    def _first(self, number: int, seen: NDArray[np.int32]) -> Ask:
        """By what the user has seen: the most frequent value or decade, or likeness to the last item."""
        wanted, values, years = PLAN[number][0], self._values(seen), self._known.years
        decades = Counter(int(year) // 10 * 10 for year in years[seen] if year)
        said, wishes = {"what": "something", "when": "", "like": ""}, {}
        if "value" in wanted and values:
            said["what"] = values[0]
            wishes[values[0]] = has_value(self._known, values[0])
        if "decade" in wanted and decades:
            decade = min(decades, key=lambda start: (-decades[start], start))
            said["when"] = f" from the {decade}s"
            wishes[f"from the {decade}s"] = years // 10 * 10 == decade
        if "like" in wanted and len(seen):
            said["like"] = f" like {self._known.titles[seen[-1]]}"
            wishes[said["like"].strip()] = nearest(self._directions, int(seen[-1]))
        return Ask(LEADS[number % len(LEADS)] + WISH.format(**said), wishes)

    def _second(self, number: int, seen: NDArray[np.int32], answered: Sequence[int]) -> Ask:
        """By the first item of the answer: another value, or something older or newer."""
        wanted, values, years = PLAN[number][1], self._values(seen), self._known.years
        year = int(years[answered[0]]) if answered else 0
        if wanted == "other value" and len(values) > 1:
            return Ask(RATHER.format(value=values[1]), {values[1]: has_value(self._known, values[1])})
        if wanted == "older" and year:
            return Ask("Something older, please.", {f"older than {year}": (years > 0) & (years < year)})
        if wanted == "newer" and year:
            return Ask("Something newer, please.", {f"newer than {year}": years > year})
        return Ask(SOMETHING_ELSE, {})

    def _judged(self, ask: Ask, items: Sequence[int]) -> list[dict[str, Any]]:
        active = self._known.active
        return [
            {
                "wish": words,
                "fulfilled": [bool(fulfilled[item]) for item in items],
                "share": float(fulfilled[active].mean()),
            }
            for words, fulfilled in ask.wishes.items()
        ]

    def _values(self, seen: NDArray[np.int32]) -> list[str]:
        """Values that many items of the catalogue share, the most frequent among the items seen first."""
        counts = Counter(value for item in seen for value in self._known.wishes(int(item)))
        return sorted(counts, key=lambda value: (-counts[value], value))


def even_cases(cases: Cases) -> Cases:
    """At most USERS of the cases: the first, the last, and others at even distances between."""
    rows = np.unique(np.linspace(0, len(cases.targets) - 1, min(USERS, len(cases.targets))).round().astype(np.int64))
    return Cases(
        cases.user_index[rows],
        cases.targets[rows],
        [cases.histories[row] for row in rows],
        [cases.seen[row] for row in rows],
    )
