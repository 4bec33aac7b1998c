"""What everybody takes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Popularity:
    """Scores an item by its number of train interactions, the same for everybody."""

    def __init__(self, train_counts: NDArray[np.int64]) -> None:
        """Take the interactions per item [n_items] of the train part."""
        self._scores = train_counts.astype(np.float32)

    def score(self, task: str, histories: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Scores [batch, n_items]; read-only. Task and histories do not matter."""
        return np.broadcast_to(self._scores, (len(histories), len(self._scores)))
