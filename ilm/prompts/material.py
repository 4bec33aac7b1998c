"""What the tasks' examples are made of: a catalogue's attributes, CF vectors, popularity, and who chose what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ilm.prompts.attributes import Attributes

Row = tuple[NDArray[np.int32], int]
"""A history, oldest first, and the item that came next."""


@dataclass(frozen=True)
class Choices:
    """What users had (`histories`, oldest first) and chose next (`targets` [m])."""

    histories: list[NDArray[np.int32]]
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
