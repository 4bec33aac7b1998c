"""What the tasks' examples are made of: a catalogue's attributes, CF vectors, popularity, and who chose what."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilm.prompts.attributes import Attributes

Row = tuple[NDArray[np.int32], int]
"""A history, oldest first, and the item that came next."""


class Histories(Sequence[NDArray[np.int32]]):
    """Many short arrays behind one another in a long one: a million of their own would take more than what they say.

    Args:
        values: of all, [v].
        ends: place in `values` behind the last of each, [m].
    """

    def __init__(self, values: NDArray[np.int32], ends: NDArray[np.int64]) -> None:
        self.values, self._bounds = values, np.concatenate([np.zeros(1, np.int64), ends])

    @classmethod
    def of(cls, histories: Sequence[NDArray[np.int32]]) -> "Histories":
        """Of arrays."""
        values = [np.asarray(history, dtype=np.int32) for history in histories]
        ends = np.cumsum([len(history) for history in values], dtype=np.int64)
        return cls(np.concatenate([np.zeros(0, np.int32), *values]), ends)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[m]."""
        return np.diff(self._bounds)

    def blocks(self, rows: int = 1 << 16) -> Iterator[tuple[slice, "Histories"]]:
        """Some after the others, each as the rows and what they hold: for work that takes memory for every value."""
        for start in range(0, len(self), rows):
            bounds = self._bounds[start : start + rows + 1]
            yield (
                slice(start, start + len(bounds) - 1),
                Histories(self.values[bounds[0] : bounds[-1]], bounds[1:] - bounds[0]),
            )

    def any(self, values: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether each has one for which it is so [m], of what is so for each of `values` [v]."""
        before = np.concatenate([np.zeros(1, np.int32), np.cumsum(values, dtype=np.int32)])
        found: NDArray[np.bool_] = before[self._bounds[1:]] > before[self._bounds[:-1]]
        return found

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, row: Any) -> Any:
        """One of them; no slices."""
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        row %= len(self)
        return self.values[self._bounds[row] : self._bounds[row + 1]]


@dataclass(frozen=True)
class Choices:
    """What users had (`histories`, oldest first) and chose next (`targets` [m])."""

    histories: Histories
    targets: NDArray[np.int32]

    def __getitem__(self, row: int) -> Row:
        return self.histories[row], int(self.targets[row])


@dataclass(frozen=True)
class Material:
    """One training's (or one held-out sample's) material.

    `item_factors` [n, d]; `popularity` [n]: users who chose the item, train part; `choices`: by recommendation task;
    `items`: indexes of the items that tasks about items ask for; `named` bool [n]: items whose title an answer may
    give (of `title`, which is a way of ranking, any item); `max_history`: items of a history that are shown;
    `spoken`: what the task `title` answers with for each item (`ilm.prompts.indexes`), None for its title.
    """

    attributes: Attributes
    item_factors: NDArray[np.float32]
    popularity: NDArray[np.int64]
    choices: Mapping[str, Choices]
    items: NDArray[np.int64]
    named: NDArray[np.bool_]
    max_history: int
    spoken: Sequence[str] | None = None

    @cached_property
    def directions(self) -> NDArray[np.float32]:
        """CF vectors [n, d] at unit length; zeros stay zeros."""
        lengths = np.linalg.norm(self.item_factors, axis=1, keepdims=True)
        unit: NDArray[np.float32] = self.item_factors / np.maximum(lengths, np.finfo(np.float32).tiny)
        return unit

    def closest(self, items: NDArray[np.int32], to: int, count: int) -> list[int]:
        """The `count` of `items` whose CF vectors have the largest cosine to that of the item `to`, best first."""
        similarity = self.directions[items] @ self.directions[to]
        return [int(item) for item in items[np.argsort(-similarity, kind="stable")[:count]]]

    def is_neighbour(self, item: int, of: int, count: int) -> bool:
        """Whether the item is among the `count` items nearest to `of` (itself not counted), by cosine."""
        similarity = self.directions @ self.directions[of]
        similarity[of] = -np.inf
        return item != of and int((similarity > similarity[item]).sum()) < count
