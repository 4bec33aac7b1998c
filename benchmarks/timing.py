"""Side-by-side timing in one process, and the entry that a benchmark leaves in reports/bench.json."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, TypedDict


class Result(TypedDict):
    """One benchmark's outcome."""

    name: str
    ratio: float
    goal: str
    """What the ratio should be, as "<= 1.05"."""
    detail: dict[str, Any]
    """Sizes, seconds (median of the repetitions), and what else one must know to read the ratio."""


def interleaved(contestants: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Median wall seconds of each; after one warm-up they take turns, so that a busy machine slows all alike."""
    for run in contestants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repetitions):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: median(taken) for name, taken in seconds.items()}
