"""Drift: what is measured, what it decides, and what comes back from its file."""

from pathlib import Path

import numpy as np
import pytest

from ilm.cf.drift import Drift, decide, load_drift, measure, save_drift
from ilm.cf.factors import Factors
from ilm.errors import ArtifactError
from ilm.files import read_json, write_json
from ilm.params import CfParams

PARAMS = CfParams(
    factors=2, reuse_cosine=0.9, reuse_overlap=0.5, refresh_cosine=0.6, refresh_overlap=0.3, drift_neighbours=1
)


def vectors(*degrees: float | None) -> np.ndarray:
    """A unit vector per angle; None: an item without interactions."""
    rows = [(0.0, 0.0) if a is None else (np.cos(np.radians(a)), np.sin(np.radians(a))) for a in degrees]
    return np.array(rows, dtype=np.float32)


def factors(items: np.ndarray, space: str) -> Factors:
    return Factors(items, np.ones((1, 2), np.float32), space, "items", "users", 0.05, 10.0, 5, 42)


ANCHOR = factors(vectors(0, 5, 90, 95), "a" * 16)


def drift_of(*degrees: float | None) -> Drift:
    return measure(factors(vectors(*degrees), "b" * 16), ANCHOR, ANCHOR, 3, PARAMS)


def test_vectors_that_stayed_are_reused_in_the_anchors_space() -> None:
    drift = drift_of(0, 5, 90, 95)
    assert (drift.decision, drift.space_id, drift.generation) == ("reuse", "a" * 16, 4)
    assert drift.cosine == pytest.approx(1.0) and drift.neighbour_overlap == 1.0


def test_vectors_that_moved_some_way_refresh_stage_2_in_the_same_space() -> None:
    drift = drift_of(40, 45, 130, 135)
    assert drift.cosine == pytest.approx(np.cos(np.radians(40)), abs=1e-6)
    assert (drift.decision, drift.space_id) == ("refresh", "a" * 16)


@pytest.mark.parametrize("degrees", [(90, 95, 180, 185), (0, 60, 20, 75)])
def test_vectors_that_moved_far_or_lost_their_neighbours_begin_a_new_space(degrees: tuple[float, ...]) -> None:
    drift = drift_of(*degrees)
    assert (drift.decision, drift.space_id, drift.generation) == ("retrain", "b" * 16, 1)


def test_items_without_a_vector_on_either_side_do_not_count_and_new_ones_are_counted() -> None:
    anchor = factors(vectors(0, 5, 90, 95, None), "a" * 16)
    now = factors(vectors(0, 5, 90, None, 20, 30), "b" * 16)
    drift = measure(now, anchor, anchor, 1, PARAMS)
    assert (drift.shared_items, drift.new_items) == (3, 2)
    assert drift.cosine == pytest.approx(1.0)


def test_too_few_shared_items_begin_a_new_space() -> None:
    drift = measure(factors(vectors(0, None, None, None), "b" * 16), ANCHOR, ANCHOR, 1, PARAMS)
    assert (drift.decision, drift.cosine, drift.space_id) == ("retrain", None, "b" * 16)


def test_the_anchor_counts_and_not_the_generation_before() -> None:
    """Small steps add up: each is close to the one before, the last is far from the first."""
    previous = factors(vectors(60, 65, 150, 155), "a" * 16)
    drift = measure(factors(vectors(70, 75, 160, 165), "b" * 16), previous, ANCHOR, 7, PARAMS)
    assert drift.cosine_to_previous == pytest.approx(np.cos(np.radians(10)), abs=1e-6)
    assert drift.decision == "retrain"


@pytest.mark.parametrize(
    ("cosine", "overlap", "decision"),
    [(0.9, 0.5, "reuse"), (0.89, 0.9, "refresh"), (0.95, 0.49, "refresh"), (0.6, 0.3, "refresh"),
     (0.59, 0.9, "retrain"), (0.9, 0.29, "retrain"), (float("nan"), 0.9, "retrain")],
)  # fmt: skip
def test_both_figures_must_reach_the_threshold_and_nan_reaches_none(
    cosine: float, overlap: float, decision: str
) -> None:
    assert decide(cosine, overlap, PARAMS)[0] == decision


def test_what_was_written_is_read(tmp_path: Path) -> None:
    drift = drift_of(0, 5, 90, 95)
    save_drift(tmp_path / "drift.json", drift)
    assert load_drift(tmp_path / "drift.json") == drift


@pytest.mark.parametrize("wrong", [{"decision": "maybe"}, {"surprise": 1}])
def test_a_damaged_file_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    path = tmp_path / "drift.json"
    save_drift(path, drift_of(0, 5, 90, 95))
    write_json(path, read_json(path) | wrong)
    with pytest.raises(ArtifactError, match=r"drift\.json"):
        load_drift(path)
