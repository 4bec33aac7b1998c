"""Fold-in: the exact ALS user vector of a history, as `implicit` computes it."""

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

from ilm.cf.fold_in import UserFoldIn
from ilm.errors import DataError

N_ITEMS, WIDTH, REGULARIZATION, ALPHA = 30, 8, 0.05, 10.0


@pytest.fixture
def item_factors() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(N_ITEMS, WIDTH)).astype(np.float32)


@pytest.fixture
def fold_in(item_factors: np.ndarray) -> UserFoldIn:
    return UserFoldIn(item_factors, REGULARIZATION, ALPHA)


def as_history(*items: int) -> np.ndarray:
    return np.array(items, dtype=np.int32)


def test_one_factor_by_hand() -> None:
    # Y = [1, 2], history = {0}: x = (5 + 3 * 1 + 2)^-1 * (1 + 3) * 1 = 0.4
    fold_in = UserFoldIn(np.array([[1.0], [2.0]], np.float32), regularization=2.0, alpha=3.0)
    assert fold_in([as_history(0)]) == pytest.approx(0.4)


def test_agrees_with_implicit(item_factors: np.ndarray, fold_in: UserFoldIn) -> None:
    rng = np.random.default_rng(2)
    histories = [rng.choice(N_ITEMS, size=size, replace=False).astype(np.int32) for size in (1, 2, 5, 12, 29)]
    model = AlternatingLeastSquares(factors=WIDTH, regularization=REGULARIZATION, alpha=1.0)
    model.item_factors = item_factors
    dense = np.zeros((len(histories), N_ITEMS), np.float32)
    for row, history in enumerate(histories):
        dense[row, history] = 1.0 + ALPHA
    expected = model.recalculate_user(np.arange(len(histories)), csr_matrix(dense))
    assert np.allclose(fold_in(histories), expected, atol=1e-4)


def test_solution_minimises_the_weighted_squared_error(item_factors: np.ndarray, fold_in: UserFoldIn) -> None:
    history = as_history(3, 4, 9)
    preference = np.isin(np.arange(N_ITEMS), history).astype(float)
    confidence = 1.0 + ALPHA * preference

    def loss(user: np.ndarray) -> float:
        return float((confidence * (preference - item_factors @ user) ** 2).sum() + REGULARIZATION * (user**2).sum())

    best = fold_in([history])[0].astype(np.float64)
    nudges = np.random.default_rng(3).normal(size=(50, WIDTH)) * 0.01
    assert all(loss(best + nudge) > loss(best) for nudge in nudges)


def test_empty_history_gives_zeros(fold_in: UserFoldIn) -> None:
    assert np.array_equal(fold_in([as_history()]), np.zeros((1, WIDTH), np.float32))


def test_order_and_repetition_do_not_matter(fold_in: UserFoldIn) -> None:
    vectors = fold_in([as_history(4, 1, 9), as_history(9, 9, 1, 4, 4)])
    assert np.array_equal(vectors[0], vectors[1])


def test_row_does_not_depend_on_the_rest_of_the_batch(fold_in: UserFoldIn) -> None:
    rng = np.random.default_rng(4)
    histories = [rng.integers(0, N_ITEMS, size=rng.integers(0, 20)).astype(np.int32) for _ in range(600)]
    together = fold_in(histories)
    assert together.shape == (600, WIDTH)
    assert together.dtype == np.float32
    for row in (0, 255, 256, 599):
        assert np.array_equal(fold_in([histories[row]])[0], together[row])


def test_items_without_a_vector_do_not_change_a_bit() -> None:
    """Not even of the float64 sums, which a user vector in float32 shows once in a hundred million numbers."""
    factors = np.random.default_rng(1).normal(size=(2000, WIDTH)).astype(np.float32)
    among = np.zeros((3000, WIDTH), np.float32)
    places = np.sort(np.random.default_rng(3).choice(3000, 2000, replace=False)).astype(np.int32)
    among[places] = factors
    alone, mixed = UserFoldIn(factors, REGULARIZATION, ALPHA), UserFoldIn(among, REGULARIZATION, ALPHA)
    history = as_history(3, 1, 7)
    assert mixed._gram.tobytes() == alone._gram.tobytes()
    assert mixed([places[history]]).tobytes() == alone([history]).tobytes()


def test_no_histories_give_no_rows(fold_in: UserFoldIn) -> None:
    assert fold_in([]).shape == (0, WIDTH)


@pytest.mark.parametrize("item", [-1, N_ITEMS])
def test_unknown_item_is_refused(fold_in: UserFoldIn, item: int) -> None:
    with pytest.raises(DataError, match=rf"history 1: item_index {item} is outside the 30 item factors"):
        fold_in([as_history(0), as_history(item)])


@pytest.mark.parametrize(("regularization", "alpha"), [(0.0, 1.0), (0.1, 0.0), (float("nan"), 1.0)])
def test_settings_without_a_unique_solution_are_refused(
    item_factors: np.ndarray, regularization: float, alpha: float
) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        UserFoldIn(item_factors, regularization, alpha)
