"""Who solves for the item vectors: `implicit` on the CPU or on a GPU, or Spark MLlib. All minimise one objective.

Each backend is a module with one function `learn(user_items, params, start, threads) -> Learned`; nothing else knows
which one ran. Alignment, the users' vectors and the name of the space are the same for all (`ilm.cf.als`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ilm.params import CfParams

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class Learned:
    """What a backend gives back."""

    item_factors: NDArray[np.float32]
    """[m, d], a row per column of the matrix."""
    iterations: int
    """That were run."""
    losses: list[float]
    """After each iteration, as `ilm.cf.loss` defines it; empty where the backend does not tell."""


def learn_items(user_items: "csr_matrix", params: CfParams, start: NDArray[np.float32] | None, threads: int) -> Learned:
    """Have the backend of the settings solve for the item vectors.

    Args:
        user_items: [k, m], 1.0 where the user has the item; every row and every column has an entry.
        params: section `cf`.
        start: [m, d] vectors to go on from, zeros for items that have none; Spark cannot, and begins anew.
        threads: of the solver on this machine, 0 = all cores; nothing to Spark, whose master says it.

    Raises:
        ConfigError: the backend cannot run here; the message says what is missing.
        IlmError: Spark failed.
    """
    if params.backend == "spark":
        from ilm.cf.backends.spark_mllib import learn
    elif params.backend == "implicit-gpu":
        from ilm.cf.backends.implicit_gpu import learn
    else:
        from ilm.cf.backends.implicit_cpu import learn
    return learn(user_items, params, start, threads)
