"""Which texts are asked for: the same items in every task, some to learn from and some held out, drawn by a seed."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ilm.elm.tasks import ALONE, TASKS, Request
from ilm.errors import DataError
from ilm.prompts.material import Material

Texts = Mapping[tuple[str, int, int], str]
"""(task, item, other) -> text that is given."""


def plan(training: Material, held_out: Material, items: int, held_out_items: int, seed: int) -> list[Request]:
    """All 24 tasks for `items` items of one part and `held_out_items` of the other, or as many as there are; sorted.

    The other item of a training request may be named in training, too; that of a held-out one is any active item.

    Args:
        training: of `ilm.train.held_out.split_material`.
        held_out: likewise.
        items: to learn from.
        held_out_items: to be judged by.
        seed: of the choice of items, and of the other item where it is any.

    Raises:
        DataError: a part has no item, or no other item to compare with.
    """
    requests = []
    for part, (material, wanted) in enumerate(((training, items), (held_out, held_out_items))):
        chosen = _order(material, part, seed)[:wanted]
        others = np.flatnonzero(material.named)
        if not len(chosen) or len(others) < 2:
            raise DataError(
                f"ELM-24: {len(chosen)} items are {('for training', 'held out')[part]} and {len(others)} may stand "
                "beside them; at least 1 and 2 are needed. Change finetune.held_out_fraction, or give more items."
            )
        for item in chosen.tolist():
            rng = np.random.default_rng([seed, part, item])
            among = others[others != item]
            for task, kind in TASKS.items():
                other = _other(kind.other, material, item, among, rng)
                requests.append(Request(bool(part), task, item, other))
    return sorted(requests)


def plan_given(
    texts: Texts, training: Material, held_out: Material, items: int, held_out_items: int, seed: int
) -> list[Request]:
    """As `plan`, among texts that are given: of the tasks that they have, and the items that have a text in each of
    those. Where a pair task has several other items, the first one.

    Raises:
        DataError: of a part, no item has all tasks.
    """
    tasks = sorted({task for task, _, _ in texts})
    requests = []
    for part, (material, wanted) in enumerate(((training, items), (held_out, held_out_items))):
        found: dict[tuple[str, int], int] = {}
        for task, item, other in sorted(texts):
            if other == ALONE or material.named[other]:
                found.setdefault((task, item), other)
        whole = [item for item in _order(material, part, seed).tolist() if all((task, item) in found for task in tasks)]
        if not whole:
            raise DataError(
                f"ELM-24: none of the items that are {('for training', 'held out')[part]} has a given text in all of "
                f"{', '.join(tasks) or 'no task'}. Give texts of more items, or of fewer tasks."
            )
        requests += [Request(bool(part), task, item, found[task, item]) for task in tasks for item in whole[:wanted]]
    return sorted(requests)


def tasks_of(requests: Sequence[Request]) -> list[str]:
    """The tasks that occur, in the order of TASKS."""
    present = {request.task for request in requests}
    return [task for task in TASKS if task in present]


def _other(kind: str, material: Material, item: int, among: NDArray[np.int64], rng: np.random.Generator) -> int:
    if kind == "nearest":
        return material.closest(among.astype(np.int32), item, 1)[0]
    return int(rng.choice(among)) if kind == "any" else ALONE


def _order(material: Material, part: int, seed: int) -> NDArray[np.int64]:
    """A part's items in the order in which they are taken; without a CF vector there is nothing to say."""
    known = material.items[material.item_factors[material.items].any(axis=1)]
    order: NDArray[np.int64] = np.random.default_rng([seed, part]).permutation(known)
    return order
