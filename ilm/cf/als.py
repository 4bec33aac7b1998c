"""Fit the CF vectors: alternating least squares on the binary user-item matrix of the train part (`cf.backend`)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilm.cf.alignment import rotated, rotation
from ilm.cf.backends import learn_items
from ilm.cf.factors import Factors, space_identity
from ilm.cf.fold_in import UserFoldIn
from ilm.cf.loss import training_loss
from ilm.errors import DataError
from ilm.params import CfParams

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class Fit:
    """Factors, and the training loss after each iteration; after the last alone where the backend tells none."""

    factors: Factors
    losses: list[float]


def fit(
    user_index: NDArray[np.int32],
    item_index: NDArray[np.int32],
    *,
    n_users: int,
    n_items: int,
    params: CfParams,
    item_map_hash: str,
    user_map_hash: str,
    threads: int = 0,
    start: NDArray[np.float32] | None = None,
    anchor: NDArray[np.float32] | None = None,
) -> Fit:
    """Factorise train interactions; with `implicit-cpu` bit-identical for equal input, whatever their order and the
    number of threads (docs/decisions/cf-backends.md says what the other backends hold).

    Each (user, item) counts once, with confidence 1 + alpha. The backend learns the item vectors; the user vectors are
    then solved exactly by `UserFoldIn`, so that a stored user vector equals what serving computes from the history.
    Users and items without a train interaction take no part in the fit, so that it does not matter to the others how
    many there are; they get exact zeros and score 0 everywhere. Nor does it matter how the users are numbered.

    Args:
        user_index: [n], train part.
        item_index: [n], train part, parallel to user_index.
        n_users: rows of the user map, including users without train interactions.
        n_items: rows of the item map.
        params: section `cf`.
        item_map_hash: content hash of the item map; becomes part of the space id.
        user_map_hash: content hash of the user map.
        threads: of the solver; 0 = all cores.
        start: [m, d] item vectors of an earlier generation, whose items have the first m rows of the map: the fit goes
            on from there, with `warm_iterations`. Spark cannot: it begins anew, and is brought back by the anchor.
        anchor: [m, d] item vectors, likewise, onto which the result is rotated (`ilm.cf.alignment`), before the users
            are solved: no score changes by it.

    Raises:
        ConfigError: the backend cannot run here.
        DataError: no interactions, an index outside the maps, or a fit that is not finite.
        IlmError: Spark failed.
    """
    from threadpoolctl import threadpool_limits

    user_items = _binary_matrix(user_index, item_index, n_users, n_items)
    known = np.unique(user_items.indices)
    item_factors = np.zeros((n_items, params.factors), dtype=np.float32)
    import implicit  # noqa: F401 (before the limit below, which only reaches BLAS libraries that are loaded already)

    with threadpool_limits(1, "blas"):  # implicit has its own threads; BLAS threads on top make it ten times slower
        before = None if start is None else _padded(start, n_items)[known]
        learned = learn_items(_in_order_of_content(user_items[:, known]), params, before, threads)
        item_factors[known] = learned.item_factors
        if anchor is not None:
            item_factors = _onto(item_factors, anchor)
        histories = np.split(user_items.indices, user_items.indptr[1:-1])
        user_factors = UserFoldIn(item_factors, params.regularization, params.alpha)(histories)
    if not np.isfinite(item_factors).all() or not np.isfinite(user_factors).all():
        raise DataError("cf: the fit gave NaN or infinity. Raise cf.regularization or lower cf.alpha in params.yaml.")
    settings: dict[str, Any] = {
        "regularization": params.regularization,
        "alpha": params.alpha,
        "iterations": learned.iterations,
        "seed": params.seed,
        "item_map_hash": item_map_hash,
        "user_map_hash": user_map_hash,
    }
    factors = Factors(item_factors, user_factors, space_identity(item_factors, **settings), **settings)
    return Fit(factors, learned.losses or [_last_loss(user_items, factors)])


def _binary_matrix(
    user_index: NDArray[np.int32], item_index: NDArray[np.int32], n_users: int, n_items: int
) -> "csr_matrix":
    """[n_users, n_items], 1.0 where the user has the item; column indices sorted within a row."""
    from scipy.sparse import csr_matrix

    if not len(user_index):
        raise DataError("cf: the train part has no interactions. Check the split (sequences.parquet, part `train`).")
    for name, index, count in (("user_index", user_index, n_users), ("item_index", item_index, n_items)):
        if index.min() < 0 or index.max() >= count:
            raise DataError(
                f"cf: {name} runs from {index.min()} to {index.max()}, but its id map has {count:,} rows. "
                "The sequences and the id maps come from different runs: run `dvc repro split`."
            )
    matrix = csr_matrix((np.ones(len(user_index), np.float32), (user_index, item_index)), shape=(n_users, n_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def _in_order_of_content(user_items: "csr_matrix") -> "csr_matrix":
    """The rows that have an item, sorted by a fingerprint of their items: users' numbers would otherwise decide where
    each starts, and in which order sums are rounded. Equal histories have equal fingerprints, but any order will do.
    """
    held = user_items[np.diff(user_items.indptr) > 0]
    lots = np.random.default_rng(0).integers(2**64, size=held.shape[1], dtype=np.uint64)
    fingerprints = np.add.reduceat(lots[held.indices], held.indptr[:-1])  # wraps around at 2^64
    return held[np.argsort(fingerprints, kind="stable")]


def _padded(vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """With rows of zeros behind."""
    return np.concatenate([vectors, np.zeros((count - len(vectors), vectors.shape[1]), np.float32)])


def _onto(item_factors: NDArray[np.float32], anchor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rotated onto the anchor, by the items that have a vector in both."""
    shared = np.flatnonzero(item_factors[: len(anchor)].any(axis=1) & anchor.any(axis=1))
    return rotated(item_factors, rotation(item_factors[shared], anchor[shared])) if len(shared) else item_factors


def _last_loss(user_items: "csr_matrix", factors: Factors) -> float:
    """Over users and items that have an interaction, as `implicit` counts it."""
    users, known = np.flatnonzero(np.diff(user_items.indptr)), np.unique(user_items.indices)
    of_users, of_items = factors.user_factors[users], factors.item_factors[known]
    return training_loss(user_items[users][:, known], of_users, of_items, factors.regularization, factors.alpha)
