"""The trie: exactly the names, each with exactly its items."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ilm.errors import DataError
from ilm.rank.trie import build_trie

END = 0
NAMES = st.lists(st.lists(st.integers(1, 3), max_size=4).map(lambda name: [*name, END]), min_size=1, max_size=12)


def spelled(trie, leaf):
    """A leaf's name, read upwards."""
    name = []
    while leaf != 0:
        name.append(int(trie.tokens[leaf]))
        leaf = int(trie.parents[leaf])
    return name[::-1]


def test_arrays_of_a_small_catalogue():
    trie = build_trie([[5, 7, END], [5, END], [5, 7, END]], END)
    # root -> 5 -> (end, 7 -> end)
    assert trie.tokens.tolist() == [0, 5, END, 7, END]
    assert trie.parents.tolist() == [0, 0, 1, 1, 3]
    assert trie.depths.tolist() == [0, 1, 2, 2, 3]
    assert trie.first_child.tolist() == [1, 2, 4, 4, 5, 5]
    assert trie.leaves.tolist() == [4, 2, 4]
    assert trie.order.tolist() == [1, 0, 2]
    assert trie.first_item.tolist() == [0, 0, 0, 1, 1]
    assert trie.end_item.tolist() == [3, 3, 1, 3, 3]


@given(NAMES)
def test_every_item_is_at_the_leaf_that_spells_its_name(names):
    trie = build_trie(names, END)
    assert [spelled(trie, int(leaf)) for leaf in trie.leaves] == names
    assert trie.is_leaf(trie.leaves).all()
    assert int(trie.is_leaf(torch.arange(len(trie.tokens))).sum()) == len({tuple(name) for name in names})


@given(NAMES)
def test_nodes_are_the_distinct_prefixes_and_children_stand_together(names):
    trie = build_trie(names, END)
    assert len(trie.tokens) == len({tuple(name[:length]) for name in names for length in range(len(name) + 1)})
    for node in range(len(trie.tokens)):
        children = range(int(trie.first_child[node]), int(trie.first_child[node + 1]))
        assert all(int(trie.parents[child]) == node for child in children)
        tokens = trie.tokens[children.start : children.stop].tolist()
        assert tokens == sorted(set(tokens))


@given(NAMES)
def test_items_of_a_leaf_are_all_of_that_name_in_order(names):
    trie = build_trie(names, END)
    leaves = trie.leaves.unique()
    which, items = trie.items_of(leaves)
    for place, leaf in enumerate(leaves.tolist()):
        namesakes = [item for item, name in enumerate(names) if name == spelled(trie, leaf)]
        assert items[which == place].tolist() == namesakes


@given(NAMES)
def test_items_below_a_node_are_those_whose_name_passes_it(names):
    trie = build_trie(names, END)
    for node in range(len(trie.tokens)):
        prefix = spelled(trie, node)
        below = trie.order[trie.first_item[node] : trie.end_item[node]].tolist()
        assert sorted(below) == [item for item, name in enumerate(names) if name[: len(prefix)] == prefix]


def test_an_empty_catalogue_is_refused():
    with pytest.raises(DataError, match="empty"):
        build_trie([], END)


@pytest.mark.parametrize("wrong", [[], [4], [END, 4], [END, 4, END]])
def test_a_name_that_does_not_end_with_its_only_end_token_is_refused(wrong):
    with pytest.raises(DataError, match="item_index 1: "):
        build_trie([[3, END], wrong], END)
