"""Conversations with held-out users: do words steer what is recommended, and is it always something that exists?

Each user asks for something that the held-out item has (`ilm.eval.wishes`): in one turn or, behind an answer, in a
second; in words of training or in others; and, to compare with, not at all. Answers come as a chat's do
(`ilm.rank.conversation`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilm.eval.protocol import TOP, Cases
from ilm.eval.significance import compare
from ilm.eval.wishes import KINDS, Wish, draw_wish
from ilm.prompts.attributes import Attributes
from ilm.prompts.catalogue import Catalogue
from ilm.prompts.conversation import Messages, reply_text
from ilm.rank.conversation import answer
from ilm.rank.head import HeadRecommender

TURNS = ("first_without", "first_seen", "first_unseen", "second_without", "second_seen", "second_unseen")
"""Which question, and whether it tells the wish in seen or unseen words."""
PAIRS = tuple(
    (f"{turn}_{first}", f"{turn}_{second}")
    for turn in ("first", "second")
    for first, second in (("seen", "without"), ("unseen", "without"), ("seen", "unseen"))
)
"""What is compared, on the same users."""
METRICS = ("fulfilled_at_1", f"fulfilled_at_{TOP}", f"hr_at_{TOP}")
"""Whether the first item has what was asked for; the share of the list that has it; whether the held-out item is in
the list."""

Lists = Mapping[str, Sequence[Sequence[int]]]
"""Turn -> the list of each user."""


def evaluate_conversations(
    ranker: HeadRecommender,
    catalogue: Catalogue,
    known: Attributes,
    cases: Cases,
    item_factors: NDArray[np.float32],
    *,
    users: int,
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """Talk with some of the users and measure the answers.

    Args:
        ranker: the model, ready to rank.
        catalogue, known: titles and attributes of the same n items.
        cases: held-out items, of the task `sequential`.
        item_factors: CF vectors [n, d], which say what is alike.
        users: how many are talked with (all, if there are no more), evenly spaced by user_index.
        samples: resamples of the users, and sign flips, of the paired tests.
        seed: of wishes, words and tests.

    Returns:
        {"users": talked with; "users_without_a_wish": of these, those whose held-out item has nothing that could be
        asked for, and who are left out; and, if there are others, what `summarise` gives}.
    """
    lengths = np.linalg.norm(item_factors, axis=1, keepdims=True)
    directions = item_factors / np.maximum(lengths, np.finfo(np.float32).tiny)
    rows = np.unique(np.linspace(0, len(cases.targets) - 1, min(users, len(cases.targets))).round().astype(np.int64))
    wishes: dict[int, Wish] = {}
    for row in rows.tolist():
        rng = np.random.default_rng([seed, int(cases.user_index[row])])
        if wish := draw_wish(known, directions, cases.seen[row], int(cases.targets[row]), rng):
            wishes[row] = wish
    counts = {"users": len(rows), "users_without_a_wish": len(rows) - len(wishes)}
    if not wishes:  # a catalogue that says nothing of its items is no mistake
        return counts
    spoken, seen, targets = list(wishes.values()), [cases.seen[row] for row in wishes], cases.targets[list(wishes)]
    lists = _lists(ranker, catalogue, known, spoken, seen)
    return counts | summarise(spoken, lists, seen, targets, known.active, samples=samples, seed=seed)


def _lists(
    ranker: HeadRecommender,
    catalogue: Catalogue,
    known: Attributes,
    wishes: Sequence[Wish],
    seen: Sequence[NDArray[np.int32]],
) -> dict[str, list[list[int]]]:
    """The TOP items that answer each user at each turn; before the second question stands the model's own answer, of
    one item, to the first one without a wish."""
    lists: dict[str, list[list[int]]] = {}
    for turn in TURNS:
        asked: list[Messages] = []
        for number, wish in enumerate(wishes):
            before: list[dict[str, str]] = []
            if turn.startswith("second"):
                first = reply_text(known, lists["first_without"][number][:1])
                before = [_said("user", wish.says["first_without"]), _said("assistant", first)]
            asked.append([*before, _said("user", wish.says[turn])])
        lists[turn] = []
        for start in range(0, len(asked), ranker.batch_size):  # not all users' scores at once
            part = slice(start, start + ranker.batch_size)
            lists[turn] += [found.items for found in answer(ranker, catalogue, asked[part], seen[part], TOP)]
    return lists


def summarise(
    wishes: Sequence[Wish],
    lists: Lists,
    seen: Sequence[NDArray[np.int32]],
    targets: NDArray[np.int32],
    active: NDArray[np.bool_],
    *,
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """What the answers are worth.

    Returns:
        {"recommendations": items recommended in all; of these "in_catalogue" and "not_seen_before": shares counted;
        "distinct": turn -> {at_1, at_10}: distinct items among all users' recommendations, per recommendation; "all":
        {"users"; "chance": the mean share of the catalogue that has what was asked for; "turns": turn -> METRICS;
        "paired": "<turn>_minus_<turn>" -> METRICS -> paired test}; "by_wish": kind -> the same}.
    """
    said = [(item, number) for turn in TURNS for number, items in enumerate(lists[turn]) for item in items]
    known_before = [set(items.tolist()) for items in seen]
    chances = np.array([wish.fulfilled[active].mean() for wish in wishes])
    kinds = np.array([wish.kind for wish in wishes])
    values = {turn: _per_user(lists[turn], wishes, targets) for turn in TURNS}

    def group(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        mine = {turn: values[turn][chosen] for turn in TURNS}
        return {
            "users": int(chosen.sum()),
            "chance": float(chances[chosen].mean()),
            "turns": {turn: dict(zip(METRICS, mine[turn].mean(axis=0).tolist(), strict=True)) for turn in TURNS},
            "paired": {f"{one}_minus_{other}": _paired(mine[one], mine[other], samples, seed) for one, other in PAIRS},
        }

    return {
        "recommendations": len(said),
        "in_catalogue": sum(bool(active[item]) for item, _ in said) / max(1, len(said)),
        "not_seen_before": sum(item not in known_before[number] for item, number in said) / max(1, len(said)),
        "distinct": {turn: {f"at_{length}": _distinct(lists[turn], length) for length in (1, TOP)} for turn in TURNS},
        "all": group(np.ones(len(wishes), np.bool_)),
        "by_wish": {kind: group(kinds == kind) for kind in KINDS if (kinds == kind).any()},
    }


def _per_user(
    lists: Sequence[Sequence[int]], wishes: Sequence[Wish], targets: NDArray[np.int32]
) -> NDArray[np.float64]:
    """METRICS of each user [n, 3]; an empty list is a miss."""
    rows = zip(lists, wishes, targets.tolist(), strict=True)
    return np.array(
        [
            [wish.fulfilled[items[0]], wish.fulfilled[list(items)].mean(), target in items] if len(items) else [0, 0, 0]
            for items, wish, target in rows
        ],
        dtype=np.float64,
    )


def _distinct(lists: Sequence[Sequence[int]], length: int) -> float:
    """Different items per recommendation: 1 if no two users are told the same, near 0 if all are."""
    said = [item for items in lists for item in items[:length]]
    return len(set(said)) / max(1, len(said))


def _paired(one: NDArray[np.float64], other: NDArray[np.float64], samples: int, seed: int) -> dict[str, Any]:
    (tests,) = compare({"one": one[None], "other": other[None]}, "one", samples=samples, seed=seed).paired.values()
    return {metric: dict(vars(test)) for metric, test in zip(METRICS, tests, strict=True)}


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
