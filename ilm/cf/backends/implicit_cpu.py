"""ALS of `implicit` on the cores of this machine; bit-identical for equal input, whatever the number of threads."""

import sys
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ilm.cf.backends import Learned
from ilm.cf.fold_in import UserFoldIn
from ilm.params import CfParams

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def learn(user_items: "csr_matrix", params: CfParams, start: NDArray[np.float32] | None, threads: int) -> Learned:
    """Item vectors and the loss of every iteration; see `learn_items`.

    With `start` it begins there, and with users who are solved exactly for it: from users drawn at random, the first
    iteration would lead away again. Items that have no vector there begin at next to nothing, as usual.
    """
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    losses: list[float] = []
    iterations = params.iterations if start is None else params.warm_iterations
    model = AlternatingLeastSquares(
        factors=params.factors,
        regularization=params.regularization,
        alpha=1.0,  # implicit takes the matrix entry times alpha for the whole confidence, ours is 1 + alpha
        iterations=iterations,
        calculate_training_loss=True,
        num_threads=threads,
        random_state=params.seed,
        use_gpu=False,
    )
    if start is not None:
        model.item_factors, model.user_factors = beginning(user_items, params, start)
    confidences = np.full(user_items.nnz, 1.0 + params.alpha, dtype=np.float32)
    model.fit(
        csr_matrix((confidences, user_items.indices, user_items.indptr), shape=user_items.shape),  # the same indices
        show_progress=sys.stderr.isatty(),
        callback=lambda _step, _seconds, loss: losses.append(float(loss)),
    )
    return Learned(np.array(model.item_factors, dtype=np.float32), iterations, losses)


def beginning(
    user_items: "csr_matrix", params: CfParams, start: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Item vectors [m, d] and user vectors [k, d] to go on from."""
    drawn = np.random.default_rng(params.seed).random(start.shape, dtype=np.float32) * 0.01
    histories = np.split(user_items.indices, user_items.indptr[1:-1])
    users = UserFoldIn(start, params.regularization, params.alpha)(histories)
    return np.where(start.any(axis=1, keepdims=True), start, drawn), users
