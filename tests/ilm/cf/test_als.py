"""The CF fit: known answers, exact reproducibility, and honest handling of what was never seen."""

import os
import subprocess
import sys

import numpy as np
import pytest

from ilm.cf.als import Fit, fit
from ilm.cf.fold_in import UserFoldIn
from ilm.errors import DataError
from ilm.params import CfParams

PARAMS = CfParams(factors=4, iterations=10)


def run(
    pairs: np.ndarray,
    n_users: int = 40,
    n_items: int = 30,
    params: CfParams = PARAMS,
    threads: int = 0,
    maps: str = "i",
) -> Fit:
    users, items = pairs.T.astype(np.int32)
    return fit(
        users,
        items,
        n_users=n_users,
        n_items=n_items,
        params=params,
        item_map_hash=maps,
        user_map_hash="u",
        threads=threads,
    )


def random_pairs(count: int = 300) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(0, 40, count), rng.integers(0, 30, count)], axis=1)


def same_bytes(left: Fit, right: Fit) -> bool:
    return all(
        getattr(left.factors, name).tobytes() == getattr(right.factors, name).tobytes()
        for name in ("item_factors", "user_factors")
    )


def test_checkerboard_recommends_within_the_block() -> None:
    """Even users know even items, odd users odd items; each misses one, and that one must come first."""
    pairs = np.array([(u, i) for u in range(12) for i in range(10) if u % 2 == i % 2 and i // 2 != u // 2 % 5])
    factors = run(pairs, n_users=12, n_items=10, params=CfParams(factors=2, iterations=15)).factors
    scores = factors.user_factors @ factors.item_factors.T
    scores[pairs[:, 0], pairs[:, 1]] = -np.inf
    expected = [u % 2 + 2 * (u // 2 % 5) for u in range(12)]
    assert scores.argmax(axis=1).tolist() == expected


def test_rerun_is_bit_identical() -> None:
    assert same_bytes(run(random_pairs()), run(random_pairs()))


def test_number_of_threads_does_not_change_a_bit() -> None:
    assert same_bytes(run(random_pairs(), threads=1), run(random_pairs(), threads=2))


def test_order_of_interactions_does_not_change_a_bit() -> None:
    assert same_bytes(run(random_pairs()), run(random_pairs()[::-1]))


def test_repeated_interaction_counts_once() -> None:
    assert same_bytes(run(random_pairs()), run(np.repeat(random_pairs(), 3, axis=0)))


def test_another_seed_is_another_space() -> None:
    first, second = run(random_pairs()), run(random_pairs(), params=CfParams(factors=4, iterations=10, seed=1))
    assert first.factors.space_id != second.factors.space_id


def test_another_item_map_is_another_space() -> None:
    assert run(random_pairs()).factors.space_id != run(random_pairs(), maps="other").factors.space_id


def test_users_and_items_without_train_interactions_are_zero() -> None:
    pairs = random_pairs()
    factors = run(pairs, n_users=43, n_items=33).factors
    assert factors.user_factors.shape == (43, 4)
    assert factors.item_factors.shape == (33, 4)
    assert np.array_equal(np.flatnonzero(~factors.user_factors.any(axis=1)), np.setdiff1d(np.arange(43), pairs[:, 0]))
    assert np.array_equal(np.flatnonzero(~factors.item_factors.any(axis=1)), np.setdiff1d(np.arange(33), pairs[:, 1]))


def test_how_users_are_numbered_does_not_change_a_bit() -> None:
    pairs, number = random_pairs(), np.random.default_rng(1).permutation(40)
    first, second = run(pairs).factors, run(np.stack([number[pairs[:, 0]], pairs[:, 1]], axis=1)).factors
    assert second.item_factors.tobytes() == first.item_factors.tobytes()
    assert second.user_factors[number].tobytes() == first.user_factors.tobytes()


def test_users_and_items_that_nobody_met_in_train_do_not_change_a_bit_of_the_others() -> None:
    """Wherever the maps put them: before, between or behind the others."""
    pairs = random_pairs()
    users, items = (np.sort(np.random.default_rng(2).choice(2 * n, n, replace=False)) for n in (40, 30))
    alone = run(pairs).factors
    among = run(np.stack([users[pairs[:, 0]], items[pairs[:, 1]]], axis=1), n_users=80, n_items=60).factors
    assert among.item_factors[items].tobytes() == alone.item_factors.tobytes()
    assert among.user_factors[users].tobytes() == alone.user_factors.tobytes()
    assert not np.delete(among.item_factors, items, axis=0).any()


def test_stored_user_vector_equals_fold_in_of_the_train_history() -> None:
    pairs = random_pairs()
    factors = run(pairs).factors
    fold_in = UserFoldIn(factors.item_factors, PARAMS.regularization, PARAMS.alpha)
    histories = [pairs[pairs[:, 0] == user, 1].astype(np.int32) for user in range(40)]
    assert np.allclose(fold_in(histories), factors.user_factors, atol=1e-6)


def test_loss_is_given_per_iteration_and_falls() -> None:
    losses = run(random_pairs()).losses
    assert len(losses) == PARAMS.iterations
    assert losses[-1] < losses[0]


def test_fit_is_quiet_where_blas_has_several_threads() -> None:
    """`implicit` warns once per process about BLAS threads, hence a fresh one; no bar either when not a terminal."""
    code = (
        "import numpy as np; from ilm.cf.als import fit; from ilm.params import CfParams; i = np.arange(9, dtype='i4');"
        "fit(i % 3, i, n_users=3, n_items=9, params=CfParams(factors=2), item_map_hash='i', user_map_hash='u')"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_interactions_are_refused() -> None:
    with pytest.raises(DataError, match="no interactions"):
        run(np.zeros((0, 2)))


@pytest.mark.parametrize(("pair", "name"), [((40, 0), "user_index"), ((0, 30), "item_index"), ((-1, 0), "user_index")])
def test_index_outside_its_map_is_refused(pair: tuple[int, int], name: str) -> None:
    with pytest.raises(DataError, match=name):
        run(np.array([pair, (1, 1)]))
