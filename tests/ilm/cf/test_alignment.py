"""Alignment against planted rotations, scipy, and scores that must not change."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group

from ilm.cf.alignment import mean_cosine, neighbour_overlap, rotated, rotation

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(60, 5)).astype(np.float32)
TURN = ortho_group.rvs(5, random_state=1)


def test_a_planted_rotation_is_found_and_undone() -> None:
    turned = rotated(VECTORS, TURN)
    assert mean_cosine(turned, VECTORS) < 0.5
    np.testing.assert_allclose(rotated(turned, rotation(turned, VECTORS)), VECTORS, atol=1e-5)


def test_it_is_the_rotation_of_scipy() -> None:
    noisy = rotated(VECTORS, TURN) + RNG.normal(size=VECTORS.shape).astype(np.float32)
    found = rotation(noisy, VECTORS)
    np.testing.assert_allclose(found, orthogonal_procrustes(noisy.astype(np.float64), VECTORS)[0], atol=1e-6)
    np.testing.assert_allclose(found @ found.T, np.eye(5), atol=1e-12)


def test_scores_of_items_and_users_that_are_rotated_together_stay() -> None:
    users = RNG.normal(size=(7, 5)).astype(np.float32)
    scores = rotated(users, TURN) @ rotated(VECTORS, TURN).T
    np.testing.assert_allclose(scores, users @ VECTORS.T, atol=1e-5)


def test_zeros_stay_exact_zeros() -> None:
    assert not rotated(np.zeros((2, 5), np.float32), TURN).any()


def test_cosine_is_the_mean_over_rows() -> None:
    left = np.array([[1, 0], [0, 2], [1, 1]], np.float32)
    right = np.array([[5, 0], [3, 0], [-1, -1]], np.float32)
    assert mean_cosine(left, right) == pytest.approx((1 + 0 - 1) / 3, abs=1e-6)


def test_no_rotation_changes_the_neighbours_and_another_catalogue_shares_few() -> None:
    assert neighbour_overlap(VECTORS, rotated(VECTORS, TURN), 5) == 1.0
    others = RNG.normal(size=VECTORS.shape).astype(np.float32)
    assert neighbour_overlap(VECTORS, others, 5) < 0.3


def test_neighbours_by_hand() -> None:
    """Angles in degrees; on the left 0 and 10 are nearest to each other, on the right 0 and 100."""

    def at(*degrees: float) -> np.ndarray:
        return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1).astype(np.float32)

    left, right = at(0, 10, 100, 130), at(0, 180, 10, 170)
    # left: 0-1, 1-0, 2-3, 3-2; right: 0-2, 1-3, 2-0, 3-1
    assert neighbour_overlap(left, right, 1) == 0.0
    assert neighbour_overlap(left, at(0, 20, 100, 170), 1) == 1.0


def test_more_neighbours_than_there_are_means_all_and_one_row_has_none() -> None:
    assert neighbour_overlap(VECTORS[:4], rotated(VECTORS[:4], TURN), 10) == 1.0
    assert neighbour_overlap(VECTORS[:1], VECTORS[:1], 10) == 1.0
