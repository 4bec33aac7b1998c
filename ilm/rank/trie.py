"""All names of a catalogue as one tensor trie: which tokens may follow a prefix, and which items a full name means.

In the style of STATIC (arXiv 2602.22647: a trie as flat arrays, one gather per step instead of pointer chasing), with
one difference: nodes are numbered breadth first in sorted order, so that the children of a node are consecutive. A row
of children is then two numbers and needs no list, and no table grows with the vocabulary: callers gather the logits of
the children that exist instead of masking those that do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ilm.errors import DataError


@dataclass(frozen=True)
class Trie:
    """Trie over n_items names with n_nodes nodes (node 0 is the root); all arrays int64, on one device.

    Every name ends with an end token that occurs nowhere else in it, so no name is a prefix of another and the nodes
    without children are exactly the full names. Items of the same name share a leaf.
    """

    tokens: Tensor
    """[n_nodes] token that leads from the parent to the node; 0 for the root, to be ignored."""
    parents: Tensor
    """[n_nodes] parent; 0 for the root."""
    depths: Tensor
    """[n_nodes] tokens from the root."""
    first_child: Tensor
    """[n_nodes + 1] the children of node v are first_child[v] .. first_child[v + 1] - 1, by ascending token."""
    order: Tensor
    """[n_items] items sorted by name; equal names by ascending item."""
    first_item: Tensor
    """[n_nodes] the items below node v are order[first_item[v] : end_item[v]]; of a leaf: the items of that name."""
    end_item: Tensor
    """[n_nodes]."""
    leaves: Tensor
    """[n_items] leaf of each item's name, by item."""

    @property
    def items(self) -> int:
        """Items that have a name."""
        return len(self.leaves)

    @property
    def longest(self) -> int:
        """Tokens of the longest name, end token included."""
        return int(self.depths[-1])

    def to(self, device: torch.device) -> "Trie":
        """The same trie on another device."""
        return Trie(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def is_leaf(self, nodes: Tensor) -> Tensor:
        """Whether each node is a full name, in the shape of `nodes`."""
        return self.first_child[nodes] == self.first_child[nodes + 1]

    def paths(self, nodes: Tensor) -> Tensor:
        """Nodes [...] -> [..., longest + 1]: the node itself, its parent, and so on; the root fills the rest."""
        steps = [nodes]
        for _ in range(self.longest):
            steps.append(self.parents[steps[-1]])
        return torch.stack(steps, dim=-1)

    def items_of(self, leaves: Tensor) -> tuple[Tensor, Tensor]:
        """Items of leaves [m]: (`which` [k], `items` [k]), where items[i] has the name leaves[which[i]]."""
        first, counts = self.first_item[leaves], self.end_item[leaves] - self.first_item[leaves]
        which = torch.repeat_interleave(counts)
        within = torch.arange(len(which), device=which.device) - (counts.cumsum(0) - counts)[which]
        return which, self.order[first[which] + within]


def build_trie(names: Sequence[Sequence[int]], end: int) -> Trie:
    """The trie of one name per item, on the CPU.

    Args:
        names: token ids per item, `end` last.
        end: the end token.

    Raises:
        DataError: there is no name, or a name does not end with `end`, or holds it before its end.
    """
    lengths = np.array([len(name) for name in names], np.int64)
    flat = np.fromiter((token for name in names for token in name), np.int64, lengths.sum())
    _require_ended(flat, lengths, end)
    longest = int(lengths.max())
    within = np.arange(longest) < lengths[:, None]  # [item, depth]
    sequences = np.full((len(names), longest), -1, np.int64)
    sequences[within] = flat
    order = np.lexsort(sequences.T[::-1])  # stable: equal names stay by ascending item
    rows, within = sequences[order], within[order]
    # A row opens a new node at each depth from its first difference to the row above, down to its own end.
    differs = np.ones_like(within)
    differs[1:] = np.maximum.accumulate(rows[1:] != rows[:-1], axis=1)
    opens = (differs & within).T  # [depth, row]; nodes are numbered in this order, from 1
    nodes = np.cumsum(opens).reshape(opens.shape)  # [d, i]: node of row i after d + 1 tokens, where it has so many
    depth, row = np.nonzero(opens)  # of nodes 1, 2, ...
    parents = np.where(depth > 0, nodes[depth - 1, row], 0)
    below = np.bincount(nodes[within.T])[1:]  # items
    leaves = np.empty(len(names), np.int64)
    leaves[order] = nodes[within.sum(axis=1) - 1, np.arange(len(names))]
    arrays = {
        "tokens": np.append(0, rows[row, depth]),
        "parents": np.append(0, parents),
        "depths": np.append(0, depth + 1),
        "first_child": 1 + np.searchsorted(parents, np.arange(len(parents) + 2)),
        "order": order,
        "first_item": np.append(0, row),
        "end_item": np.append(len(names), row + below),
        "leaves": leaves,
    }
    return Trie(**{name: torch.from_numpy(array.astype(np.int64)) for name, array in arrays.items()})


def _require_ended(flat: NDArray[np.int64], lengths: NDArray[np.int64], end: int) -> None:
    if not len(lengths):
        raise DataError("there is no item to name: the catalogue is empty. Run the split step again.")
    ends = np.cumsum(lengths)
    item_of = np.repeat(np.arange(len(lengths)), lengths)
    wrong = np.concatenate(
        [np.flatnonzero(lengths == 0), item_of[(flat == end) != np.isin(np.arange(len(flat)), ends - 1)]]
    )
    if wrong.size:
        raise DataError(
            f"item_index {wrong[0]}: its name of {lengths[wrong[0]]} tokens must hold the end token ({end}) once, at "
            "its end. Make names with ilm.rank.names."
        )
