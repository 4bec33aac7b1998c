"""The ranking protocol with scores given (ranks, filtered ranks, top lists), against one comparison of each score."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import Result, interleaved
from ilm.eval.metrics import per_user
from ilm.eval.protocol import Cases, target_ranks


class Given:
    """Scores that lie ready: each call gives the next rows, and after the last the first again."""

    def __init__(self, scores: NDArray[np.float32]) -> None:
        self.scores, self.next = scores, 0

    def score(self, task: str, histories: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Scores [batch, n_items]."""
        start, self.next = self.next, (self.next + len(histories)) % len(self.scores)
        return self.scores[start : start + len(histories)]


def run(users: int = 6040, items: int = 3416, history: int = 165, batch_size: int = 32, repetitions: int = 5) -> Result:
    """All metrics of all users, by default as many as ML-1M has / counting, in the same batches, the scores above the
    target's: what no full ranking can do without."""
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((users, items), dtype=np.float32)
    targets = rng.integers(0, items, users).astype(np.int32)
    seen = [rng.choice(items, history, replace=False).astype(np.int32) for _ in range(users)]
    cases = Cases(np.arange(users, dtype=np.int32), targets, seen, seen)
    candidates = np.ones(items, dtype=np.bool_)

    def evaluate() -> None:
        ranking = target_ranks(Given(scores), "sequential", cases, candidates, batch_size)
        per_user(ranking.filtered)
        per_user(ranking.unfiltered)

    def compare() -> None:
        for start in range(0, users, batch_size):
            batch, wanted = scores[start : start + batch_size], targets[start : start + batch_size]
            np.count_nonzero(batch > batch[np.arange(len(batch)), wanted][:, None], axis=1)

    seconds = interleaved({"evaluate": evaluate, "compare": compare}, repetitions)
    detail = {"seconds": seconds, "users": users, "items": items, "history": history, "batch_size": batch_size}
    ratio = seconds["evaluate"] / seconds["compare"]
    return {"name": "full_ranking", "ratio": ratio, "goal": "<= 10, in under 2 s", "detail": detail}
