"""ALS of `implicit` on one GPU (CUDA). Runs repeat up to rounding, not bit for bit."""

import sys
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ilm.cf.backends import Learned
from ilm.cf.backends.implicit_cpu import beginning
from ilm.errors import ConfigError
from ilm.params import CfParams

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def learn(user_items: "csr_matrix", params: CfParams, start: NDArray[np.float32] | None, threads: int) -> Learned:
    """Item vectors and the loss of every iteration; see `learn_items`. `threads` means nothing here.

    Raises:
        ConfigError: there is no GPU, or `implicit` cannot use it.
    """
    _require_gpu()
    import implicit.gpu
    from implicit.gpu.als import AlternatingLeastSquares

    losses: list[float] = []
    iterations = params.iterations if start is None else params.warm_iterations
    model = AlternatingLeastSquares(
        factors=params.factors,
        regularization=params.regularization,
        alpha=1.0,  # as on the CPU: the matrix holds the whole confidence
        iterations=iterations,
        calculate_training_loss=True,
        random_state=params.seed,
    )
    if start is not None:
        items, users = beginning(user_items, params, start)
        model.item_factors, model.user_factors = implicit.gpu.Matrix(items), implicit.gpu.Matrix(users)
    model.fit(
        (1.0 + params.alpha) * user_items,
        show_progress=sys.stderr.isatty(),
        callback=lambda _step, _seconds, loss: losses.append(float(loss)),
    )
    return Learned(np.array(model.item_factors.to_numpy(), dtype=np.float32), iterations, losses)


def _require_gpu() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of what the message below says
        import implicit.gpu
    if implicit.gpu.HAS_CUDA:
        return
    missing = (
        "no CUDA device answers, or `implicit` was built without CUDA: look at `nvidia-smi`"
        if implicit.gpu.HAS_RMM
        else "the package rmm is not installed: `pip install rmm-cu13` (for CUDA 13), on a machine with an NVIDIA GPU"
    )
    raise ConfigError(f"cf.backend implicit-gpu: {missing}. Or set cf.backend to implicit-cpu in params.yaml.")
