"""Collaborative indexing: what is consumed together begins alike, and every index is an item's own."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilm.cf.collaborative_index import co_occurrence, collaborative_indexes, spectral_labels

BLOCKS = [np.array(items, np.int32) for items in ([0, 2, 4], [4, 2, 0], [1, 3], [3, 5, 1], [0, 4], [5, 1])]


def test_co_occurrence_counts_pairs_within_sequences():
    together = co_occurrence([np.array([0, 1, 2], np.int32), np.array([1, 0], np.int32)], items=4)
    assert together.tolist() == [[0, 2, 1, 0], [2, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]


def test_two_blocks_are_two_clusters():
    labels = spectral_labels(co_occurrence(BLOCKS, items=6), clusters=2)
    assert labels[0] == labels[2] == labels[4] != labels[1] == labels[3] == labels[5]


def test_indexes_of_two_blocks():
    indexes = collaborative_indexes(BLOCKS, items=7, clusters=2, last_tokens=10)
    assert indexes == ["<CI0><CI0>", "<CI1><CI0>", "<CI0><CI1>", "<CI1><CI1>", "<CI0><CI2>", "<CI1><CI2>", "<CI0>"]


def test_labels_agree_with_scikit_learn():
    from sklearn.cluster import SpectralClustering
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(0)
    kinds = rng.integers(4, size=60)
    weights = rng.poisson(np.where(kinds[:, None] == kinds, 6.0, 1.0)).astype(float)
    weights = np.triu(weights, 1) + np.triu(weights, 1).T
    theirs = SpectralClustering(4, assign_labels="cluster_qr", random_state=0, affinity="precomputed").fit(weights)
    assert adjusted_rand_score(theirs.labels_, spectral_labels(weights, 4)) == pytest.approx(1.0)


@given(
    st.lists(st.lists(st.integers(0, 24), min_size=1, max_size=8), min_size=1, max_size=20),
    st.integers(2, 4),
    st.integers(25, 30),
)
def test_indexes_differ_from_item_to_item_and_stay_in_their_vocabulary(sequences, clusters, last_tokens):
    train = [np.array(sequence, np.int32) for sequence in sequences]
    indexes = collaborative_indexes(train, 25, clusters, last_tokens)
    assert len(set(indexes)) == 25
    assert indexes == collaborative_indexes(train, 25, clusters, last_tokens)
    assert all(int(token) < last_tokens for index in indexes for token in re.findall(r"<CI(\d+)>", index))


def test_large_clusters_are_split_again():
    sequences = [np.array([item, item + 1], np.int32) for item in range(39)]
    indexes = collaborative_indexes(sequences, 40, clusters=2, last_tokens=6)
    assert max(index.count("<CI") for index in indexes) > 2


def test_items_that_nobody_consumed_together_still_get_indexes():
    alone = [np.array([item], np.int32) for item in range(30)]
    assert len(set(collaborative_indexes(alone, 30, clusters=2, last_tokens=5))) == 30


def test_more_unknown_items_than_tokens_are_refused():
    with pytest.raises(ValueError, match="4 items have no train interaction"):
        collaborative_indexes([np.array([0, 1], np.int32)], items=6, clusters=2, last_tokens=3)
