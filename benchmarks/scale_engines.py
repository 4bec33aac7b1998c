"""Which engine for which step, for logs and catalogues of any size: what fits a machine, and is done in a night.

Memory and time of `cf` are straight lines through what `benchmarks.scale` measured. The memory of later steps is a
plane: so much for a million interactions, so much for a thousand items, so much in any case. In the made-up logs both
grow together, but not alike (items as the root of the rows), which tells them apart; no share may be negative.
"""

from typing import Any

import numpy as np

from benchmarks.scale import SPARK, known
from benchmarks.synthetic_log import ROWS_PER_USER, items_of
from ilm.model.head import HEAD_WIDTH
from ilm.params import Params

CONTEXT_FLOPS = 6 * HEAD_WIDTH
"""Of one item's score at one place, forward and back: two for each product, three products."""
GPU_FLOPS = 2e14
"""Of one H100 in bfloat16 at two fifths of its peak."""
CPU_FLOPS = 1e11
"""Of two cores in float32: products as the item context has them; 1.3e11 measured when quiet."""
USERS_PER_SECOND = 56
"""`ilm recommend --all-users` on two cores, with few items (`python -m benchmarks recommend`)."""
CORES = 2
NIGHT = 8 * 3600
MACHINES = (24, 64, 256, 1024)
"""GB of memory that one machine has."""


def line(measured: list[dict[str, Any]], step: str, name: str, rows: float) -> float:
    """A step's "seconds" or "mb" at so many rows, on the straight line through what was measured."""
    of_million, of_none = np.polyfit(*known(measured, step, name), 1)
    return float(max(of_none, 0) + of_million * rows / 1e6)


def plane(measured: list[dict[str, Any]], step: str) -> tuple[float, float, float]:
    """MB of a step: in any case, for a million interactions, for a thousand items."""
    from scipy.optimize import nnls

    millions, values = known(measured, step, "mb")
    sizes = np.array([[1, count, items_of(round(count * 1e6)) / 1e3] for count in millions])
    of_none, of_million, of_thousand = nnls(sizes, np.array(values))[0]
    return float(of_none), float(of_million), float(of_thousand)


def factorisation(measured: list[dict[str, Any]], rows: float) -> tuple[str, int, float]:
    """Engine of `cf`, cores, seconds: Spark where two cores are not done in a night, with enough workers that they are;
    that twice the cores take half the time is assumed."""
    seconds = line(measured, "cf", "seconds", rows)
    if seconds <= NIGHT:
        return "implicit-cpu", CORES, seconds
    seconds = line(measured, SPARK, "seconds", rows)
    cores = _shared(seconds) * CORES
    return "spark", cores, seconds * CORES / cores


def item_context(rows: float, items: float) -> tuple[str, int, float]:
    """Launcher of stage 2, cores or GPUs, seconds of the passes in which the item context learns: each history, against
    each item. GPUs where two cores are not done in a night."""
    settings = Params()
    places = rows / ROWS_PER_USER * settings.pairs.max_history
    flops = settings.finetune.context_epochs * places * items * CONTEXT_FLOPS
    if flops / CPU_FLOPS <= NIGHT:
        return "local", CORES, flops / CPU_FLOPS
    gpus = _shared(flops / GPU_FLOPS)
    return "torchrun", gpus, flops / GPU_FLOPS / gpus


def recommendations(rows: float, items: float) -> tuple[str, int, float]:
    """Engine of `ilm recommend --all-users`, cores, seconds; a request is scored against each item."""
    seconds = rows / ROWS_PER_USER * (1 / USERS_PER_SECOND + 2 * HEAD_WIDTH * items / CPU_FLOPS)
    machines = _shared(seconds)
    return ("local" if machines == 1 else "ray"), machines * CORES, seconds / machines


def machine(measured: list[dict[str, Any]], rows: float, items: float) -> tuple[str, float, int | None]:
    """Step that wants most memory, GB that it wants, GB of the smallest machine that has them; None: none has."""
    gigabytes = {"cf": line(measured, "cf", "mb", rows) / 1e3}
    for step in ("pretrain", "finetune", "evaluate"):
        of_none, of_million, of_thousand = plane(measured, step)
        gigabytes[step] = (of_none + of_million * rows / 1e6 + of_thousand * items / 1e3) / 1e3
    step = max(gigabytes, key=lambda step: gigabytes[step])
    return step, gigabytes[step], next((size for size in MACHINES if gigabytes[step] <= size), None)


def _shared(seconds: float) -> int:
    """How many machines, a power of two, are done in a night."""
    return 1 << max(0, int(np.ceil(np.log2(seconds / NIGHT))))
