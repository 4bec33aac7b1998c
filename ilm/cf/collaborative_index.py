"""OpenP5's collaborative indexing (arXiv 2306.11134): an item's index is its path in a tree of clusters.

Items that occur in the same sequences share the beginning of their index, so the first generated tokens choose a kind
of item. The tree comes from spectral clustering of the items' co-occurrence, again and again until a cluster is small:
the standard one (normalised Laplacian, leading eigenvectors), with labels by pivoted QR (Damle, Minden, Ying 2019,
arXiv 1708.07481) as in OpenP5: no k-means, no random start.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]


def collaborative_indexes(
    train: Sequence[NDArray[np.int32]], items: int, clusters: int = 20, last_tokens: int = 500
) -> list[str]:
    """Index strings "<CI3><CI0><CI17>" of all items, as in OpenP5 (its defaults for all three data sets).

    Clusters are numbered breadth first over the whole tree, modulo `last_tokens`; the last token counts the items of a
    cluster. Items without a train interaction have no cluster, hence one token only.

    Args:
        train: each user's train part; held-out items would tell the answer.
        items: size of the catalogue.
        clusters: into which a cluster of more than `last_tokens` items is split; at most `last_tokens`.
        last_tokens: size of the vocabulary of index tokens.

    Raises:
        ValueError: more items without a train interaction than `last_tokens`, or `clusters` is not in
            2 .. `last_tokens`.
    """
    if not 2 <= clusters <= last_tokens:
        raise ValueError(f"clusters ({clusters}) must be at least 2 and at most last_tokens ({last_tokens})")
    together = co_occurrence(train, items)
    known = np.unique(np.concatenate(train)).astype(np.int64)
    unknown = np.setdiff1d(np.arange(items), known)
    indexes = [""] * items
    labels, queue = 0, deque([(known, True)])
    while queue:
        group, first = queue.popleft()
        if len(group) <= last_tokens and not first:
            _append(indexes, group, range(len(group)))
            continue
        for part in _split(together[np.ix_(group, group)], group, clusters):
            _append(indexes, part, [labels % last_tokens] * len(part))
            labels += 1
            queue.append((part, False))
    if len(unknown) > last_tokens:
        raise ValueError(
            f"{len(unknown):,} items have no train interaction, but there are {last_tokens} tokens to tell them apart. "
            "Raise last_tokens."
        )
    _append(indexes, unknown, range(len(unknown)))
    return indexes


def co_occurrence(sequences: Sequence[NDArray[np.int32]], items: int) -> Weights:
    """[items, items] how many pairs of places in the same sequence hold the two items; 0 on the diagonal."""
    from scipy.sparse import csr_array

    rows = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
    columns = np.concatenate(sequences)
    counts = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(sequences), items))
    together: Weights = (counts.T @ counts).toarray()
    np.fill_diagonal(together, 0.0)
    return together


def spectral_labels(weights: Weights, clusters: int) -> NDArray[np.int64]:
    """Cluster of each item [n], for symmetric non-negative weights [n, n] with n > clusters."""
    from scipy.linalg import eigh, qr, svd

    degrees = weights.sum(axis=1)
    scale = np.where(degrees > 0, degrees, 1.0) ** -0.5
    affinity = weights * scale[:, None] * scale
    count = len(weights)
    _, vectors = eigh(affinity, subset_by_index=(count - clusters, count - 1))
    embedding = vectors[:, ::-1] * scale[:, None]  # leading first
    *_, pivots = qr(embedding.T, pivoting=True, mode="economic")
    left, _, right = svd(embedding[pivots[:clusters]].T)
    labels: NDArray[np.int64] = np.abs(embedding @ (left @ right)).argmax(axis=1)
    return labels


def _split(weights: Weights, group: NDArray[np.int64], clusters: int) -> list[NDArray[np.int64]]:
    """The clusters of a group of items, in the order of their first items. A group that does not fall apart (nothing in
    it was ever consumed together) is cut into equal parts, where OpenP5 would go on for ever."""
    if len(group) <= clusters:
        return [group]
    labels = spectral_labels(weights, clusters)
    _, first = np.unique(labels, return_index=True)
    if len(first) == 1:
        return np.array_split(group, clusters)
    return [group[labels == label] for label in labels[np.sort(first)]]


def _append(indexes: list[str], group: NDArray[np.int64], tokens: Sequence[int]) -> None:
    for item, token in zip(group.tolist(), tokens, strict=True):
        indexes[item] += f"<CI{token}>"
