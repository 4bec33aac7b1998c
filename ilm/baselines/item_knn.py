"""Item-kNN: items are alike when the same users have them (`implicit`)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ilm.baselines.histories import history_matrix


class ItemKnn:
    """Scores an item by the sum of its similarities to the items of the history.

    Similarity is the cosine of the items' columns in the binary user-item matrix of the train part. Every item lends
    its similarity to its `neighbours` nearest ones only; itself is none of them.
    """

    def __init__(
        self, train: Sequence[NDArray[np.int32]], n_items: int, neighbours: int = 50, threads: int = 0
    ) -> None:
        """Find the neighbours; equal input gives equal neighbours, whatever the number of threads.

        Args:
            train: the items of each user in the train part.
            n_items: in the catalogue.
            neighbours: kept per item.
            threads: of the search; 0 = all cores.

        Raises:
            DataError: an item_index outside the catalogue.
        """
        from implicit.nearest_neighbours import ItemItemRecommender, normalize

        user_items = history_matrix(train, n_items, binary=True)
        unit_columns = normalize(user_items.T).T.tocsr()  # implicit's CosineRecommender, but for a warning it gives
        found = ItemItemRecommender(K=neighbours + 1, num_threads=threads)  # one more: nearest is the item itself
        found.fit(unit_columns, show_progress=False)
        self._similarity = found.similarity  # [n_items, n_items]; in a row the neighbours of an item
        self._similarity.setdiag(0.0)
        self._similarity.eliminate_zeros()

    def score(self, task: str, histories: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Scores [batch, n_items]; the task does not matter, nor order and repetitions in a history."""
        shown = history_matrix(histories, self._similarity.shape[0], binary=True)
        scores: NDArray[np.float32] = (shown @ self._similarity).toarray().astype(np.float32)
        return scores
