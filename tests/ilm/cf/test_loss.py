"""The training loss: `implicit`'s, and the definition by hand."""

import numpy as np
import pytest
from implicit.cpu.als import calculate_loss
from scipy.sparse import csr_matrix

from ilm.cf import loss
from ilm.cf.loss import training_loss


def matrix() -> csr_matrix:
    return csr_matrix((np.random.default_rng(0).random((20, 12)) < 0.2).astype(np.float32))


def vectors() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(20, 3)).astype(np.float32), rng.normal(size=(12, 3)).astype(np.float32)


def test_loss_of_two_users_and_two_items_by_hand() -> None:
    users, items = np.array([[1, 0], [1, 0]], np.float32), np.array([[1, 0], [0, 1]], np.float32)
    user_items = csr_matrix(np.array([[1, 0], [0, 1]], np.float32))
    met = 3.0 * (1 - 1) ** 2 + 3.0 * (1 - 0) ** 2  # user 0 and item 0; user 1 and item 1
    others = 1.0 * 0**2 + 1.0 * 1**2  # user 0 and item 1; user 1 and item 0
    expected = (met + others + 0.5 * 4) / (2 * 3.0 + 2 * 1.0)
    assert training_loss(user_items, users, items, 0.5, 2.0) == pytest.approx(expected)


def test_loss_is_the_one_that_implicit_reports() -> None:
    users, items = vectors()
    theirs = calculate_loss(11.0 * matrix(), users, items, 0.05)
    assert training_loss(matrix(), users, items, 0.05, 10.0) == pytest.approx(theirs, rel=1e-5)


def test_loss_does_not_depend_on_how_many_interactions_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = training_loss(matrix(), *vectors(), 0.05, 10.0)
    monkeypatch.setattr(loss, "_CHUNK", 7)
    assert training_loss(matrix(), *vectors(), 0.05, 10.0) == pytest.approx(whole, rel=1e-12)
