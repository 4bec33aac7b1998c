"""How the encoder rearranges the catalogue: a picture of CF vectors and of query outputs, and a number beside it.

The picture is a principal component analysis: deterministic, without settings, and with axes that mean the same for
every item. The number is counted in the full space, where nothing was projected away.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilm.prompts.attributes import Attributes

NEIGHBOURS = 10
GROUPS = 6
"""Categories that get a colour of their own."""
MOST_POINTS = 4000
"""Items of a larger catalogue are drawn at even distances of their index."""
GRID = 1000
"""Coordinates of the picture are whole numbers from 0 to GRID."""
_BLOCK = 1024


def item_space(vectors: Mapping[str, NDArray[np.float32]], attributes: Attributes) -> dict[str, Any]:
    """Picture and number for each space of items, over the active items.

    Args:
        vectors: name of the space -> vectors of all items [n, d], each space with its own d. Directions from the
            catalogue's mean are compared, since half of a vector is often the same for all items.
        attributes: of the same n items.

    Returns:
        {"column": the attribute that gives the categories, or null; "groups": its GROUPS most frequent categories;
        "drawn": items in the picture; "items": active items; "group_of": for each drawn item its place in `groups`, -1
        for another category or none; "chance": share of same-category neighbours expected by chance, or null;
        "spaces": name -> {"points": [x, y] of each drawn item, "explained": share of the variance in the picture,
        "same_category": of the NEIGHBOURS nearest other items, the mean share with the item's category, or null}}.
    """
    active = np.flatnonzero(attributes.active)
    column, category = item_categories(attributes)
    names = [category[item] for item in active]
    groups = [name for name, _ in sorted(Counter(filter(None, names)).items(), key=lambda kv: (-kv[1], kv[0]))[:GROUPS]]
    drawn = np.unique(np.linspace(0, len(active) - 1, min(len(active), MOST_POINTS)).round().astype(np.int64))
    known = np.array([name is not None for name in names], bool)
    ids = np.unique([name or "" for name in names], return_inverse=True)[1][known]
    spaces = {}
    for name, rows in vectors.items():
        directions = _directions(rows[active])
        points, explained = principal_plane(directions)
        spaces[name] = {
            "points": _on_grid(points[drawn]),
            "explained": explained,
            "same_category": same_category_share(directions[known], ids) if known.sum() > 1 else None,
        }
    return {
        "column": column,
        "groups": groups,
        "items": len(active),
        "drawn": len(drawn),
        "group_of": [groups.index(names[place]) if names[place] in groups else -1 for place in drawn],
        "chance": chance_share(ids) if known.sum() > 1 else None,
        "spaces": spaces,
    }


def item_categories(attributes: Attributes) -> tuple[str | None, list[str | None]]:
    """The column whose frequent values tell items apart best, and the first value of every item in it.

    Best is the largest entropy of the GROUPS most frequent first values over the active items: a column in which all
    items are alike has none, one in which every item has its own has almost none. Without such a column, (None, …).
    """
    entropies = {}
    for column, values in attributes.lists.items():
        first = Counter(
            value[0] for value, active in zip(values, attributes.active, strict=True) if active and value
        ).most_common(GROUPS)
        shares = np.array([count for _, count in first if count > 1]) / max(1, int(attributes.active.sum()))
        entropies[column] = float(-(shares * np.log(shares)).sum())
    best = max(entropies, key=lambda column: entropies[column], default=None)
    if best is None or entropies[best] <= 0:
        return None, [None] * len(attributes.titles)
    return best, [value[0] if value else None for value in attributes.lists[best]]


def principal_plane(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Coordinates [n, 2] in the plane of the largest variance, and its share of the variance.

    The sign of an axis is free; it is chosen so that the component of the axis with the largest size is positive.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh(centred.T @ centred)
    plane = axes[:, ::-1][:, :2]
    plane = plane * np.where(np.take_along_axis(plane, np.abs(plane).argmax(axis=0)[None], axis=0) < 0, -1.0, 1.0)
    total = float(variances.sum())
    coordinates = np.zeros((len(vectors), 2))
    coordinates[:, : plane.shape[1]] = centred @ plane
    return coordinates, float(variances[::-1][:2].sum()) / total if total > 0 else 0.0


def same_category_share(directions: NDArray[np.float32], category: NDArray[np.int64]) -> float:
    """Of each item's NEIGHBOURS nearest others by cosine, the share with its category; the mean over items.

    Args:
        directions: [n, d] at unit length, at least 2.
        category: [n].
    """
    count = min(NEIGHBOURS, len(directions) - 1)
    same = 0
    for start in range(0, len(directions), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(directions)))
        similarity = directions[block] @ directions.T
        similarity[np.arange(len(similarity)), np.arange(block.start, block.stop)] = -np.inf
        nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        same += int((category[nearest] == category[block, None]).sum())
    return same / (count * len(directions))


def chance_share(category: NDArray[np.int64]) -> float:
    """The share of same-category neighbours if neighbours were drawn from all other items (at least 1)."""
    counts = np.bincount(category)
    return float((counts * (counts - 1)).sum() / (len(category) * (len(category) - 1)))


def _directions(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """From the mean of all, at unit length; zeros stay zeros."""
    centred = vectors - vectors.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    unit: NDArray[np.float32] = centred / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def _on_grid(points: NDArray[np.float64]) -> Sequence[Sequence[int]]:
    """Both axes at the same scale, the middle of the picture at 0."""
    reach = float(np.abs(points).max()) or 1.0
    grid: list[list[int]] = np.rint((points / reach + 1) / 2 * GRID).astype(int).tolist()
    return grid
