"""Step `cf` on tiny tables."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_logs import FakeStep, with_params

from ilm.cf.drift import load_drift
from ilm.cf.factors import load, save
from ilm.data import schema
from ilm.errors import ArtifactError, ConfigError, DataError
from ilm.files import digest
from tasks import cf, paths

PARAMS = with_params(cf={"factors": 4, "iterations": 5})


def write_features(rows: list[tuple[int, int, int, str]], users: int = 8, items: int = 6) -> None:
    schema.write_table(pl.DataFrame(rows, schema=dict(schema.SEQUENCES), orient="row"), paths.SEQUENCES)
    names = [(index, f"u{index}") for index in range(users)]
    schema.write_table(pl.DataFrame(names, schema=dict(schema.USER_IDS), orient="row"), paths.USER_IDS)
    names = [(index, f"i{index}") for index in range(items)]
    schema.write_table(pl.DataFrame(names, schema=dict(schema.ITEM_IDS), orient="row"), paths.ITEM_IDS)


ROWS = [(u, p, (u + p) % 5, "train" if p < 3 else "test") for u in range(7) for p in range(4)]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_features(ROWS)
    return tmp_path


def test_factors_have_a_row_per_id_and_name_their_maps() -> None:
    cf.run(FakeStep(PARAMS))
    factors = load(paths.CF_FACTORS)
    assert (factors.user_factors.shape, factors.item_factors.shape) == ((8, 4), (6, 4))
    assert factors.item_map_hash == digest(paths.ITEM_IDS)
    assert factors.user_map_hash == digest(paths.USER_IDS)


def test_only_the_train_part_is_learned() -> None:
    cf.run(FakeStep(PARAMS))
    before = load(paths.CF_FACTORS).item_factors
    write_features([row for row in ROWS if row[3] == "train"])
    cf.run(FakeStep(PARAMS))
    assert np.array_equal(load(paths.CF_FACTORS).item_factors, before)


def test_rerun_gives_equal_bytes() -> None:
    cf.run(FakeStep(PARAMS))
    before = paths.CF_FACTORS.read_bytes()
    cf.run(FakeStep(PARAMS))
    assert paths.CF_FACTORS.read_bytes() == before


def test_loss_and_norms_are_logged() -> None:
    step = FakeStep(PARAMS)
    cf.run(step)
    assert set(step.metrics) == {
        "loss",
        "item_norm_mean",
        "item_without_vector",
        "user_norm_mean",
        "user_without_vector",
    }
    assert (step.metrics["item_without_vector"], step.metrics["user_without_vector"]) == (1, 1)


def test_no_train_part_is_refused_and_leaves_no_file() -> None:
    write_features([row for row in ROWS if row[3] != "train"])
    with pytest.raises(DataError, match="no interactions"):
        cf.run(FakeStep(PARAMS))
    assert not paths.CF_FACTORS.exists()


def test_a_backend_that_cannot_run_is_refused_and_leaves_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(ConfigError, match="cf.backend spark needs the package pyspark"):
        cf.run(FakeStep(with_params(cf={"backend": "spark"})))
    assert not paths.CF_FACTORS.exists()


def test_sequences_of_another_map_are_refused() -> None:
    write_features(ROWS, items=3)
    with pytest.raises(DataError, match="item_index runs from 0 to 4"):
        cf.run(FakeStep(PARAMS))


def test_missing_sequences_are_refused() -> None:
    paths.SEQUENCES.unlink()
    with pytest.raises(ArtifactError, match="sequences.parquet: not found"):
        cf.run(FakeStep(PARAMS))


LATER = ROWS + [(7, p, (p + 2) % 5, "train") for p in range(3)] + [(0, 4, 6, "train"), (3, 4, 6, "train")]
"""Another user has come, and the item with index 6."""


def make_previous() -> None:
    """What lies in data/features is the generation before."""
    paths.PREVIOUS.mkdir(parents=True, exist_ok=True)
    for path in (paths.USER_IDS, paths.ITEM_IDS, paths.CF_FACTORS, paths.ANCHOR, paths.DRIFT):
        (paths.PREVIOUS / path.name).write_bytes(path.read_bytes())


def following(**settings: object) -> FakeStep:
    """A generation after the first one, with more data."""
    make_previous()
    write_features(LATER, items=7)
    step = FakeStep(
        with_params(cf={"factors": 4, "iterations": 5, "reuse_overlap": 0.0, "reuse_cosine": 0.5} | settings)
    )
    cf.run(step)
    return step


def test_the_first_generation_begins_a_space_and_is_its_anchor() -> None:
    cf.run(FakeStep(PARAMS))
    drift = load_drift(paths.DRIFT)
    assert (drift.decision, drift.generation, drift.space_id) == ("first", 1, load(paths.CF_FACTORS).space_id)
    assert paths.ANCHOR.read_bytes() == paths.CF_FACTORS.read_bytes()


def test_the_next_one_goes_on_in_its_space_with_its_anchor() -> None:
    cf.run(FakeStep(PARAMS))
    first, anchor = load(paths.CF_FACTORS), paths.ANCHOR.read_bytes()
    step = following()
    now, drift = load(paths.CF_FACTORS), load_drift(paths.DRIFT)
    assert (drift.decision, drift.generation, drift.new_items) == ("reuse", 2, 1)
    assert now.space_id == drift.space_id == first.space_id
    assert now.item_factors.shape == (7, 4)
    assert paths.ANCHOR.read_bytes() == anchor
    assert step.metrics["anchor_cosine"] == drift.cosine


def test_going_on_is_deterministic_too() -> None:
    cf.run(FakeStep(PARAMS))
    following()
    before = [path.read_bytes() for path in (paths.CF_FACTORS, paths.ANCHOR, paths.DRIFT)]
    paths.CF_FACTORS.unlink()
    cf.run(FakeStep(with_params(cf={"factors": 4, "iterations": 5, "reuse_overlap": 0.0, "reuse_cosine": 0.5})))
    assert [path.read_bytes() for path in (paths.CF_FACTORS, paths.ANCHOR, paths.DRIFT)] == before


def test_vectors_that_have_moved_too_far_begin_a_new_space() -> None:
    cf.run(FakeStep(PARAMS))
    first = load(paths.CF_FACTORS)
    following(reuse_cosine=1.0, refresh_cosine=1.0)
    now, drift = load(paths.CF_FACTORS), load_drift(paths.DRIFT)
    assert (drift.decision, drift.generation) == ("retrain", 1)
    assert now.space_id == drift.space_id != first.space_id
    assert paths.ANCHOR.read_bytes() == paths.CF_FACTORS.read_bytes()


@pytest.mark.parametrize("changed", [{"alpha": 3.0}, {"regularization": 0.2}, {"factors": 3}])
def test_other_settings_of_the_fit_begin_anew(changed: dict[str, float]) -> None:
    cf.run(FakeStep(PARAMS))
    following(**changed)
    assert load_drift(paths.DRIFT).decision == "first"


def test_part_of_an_earlier_generation_is_refused() -> None:
    cf.run(FakeStep(PARAMS))
    make_previous()
    (paths.PREVIOUS / "anchor.safetensors").unlink()
    with pytest.raises(ArtifactError, match="anchor.safetensors: not found, although cf.safetensors is there"):
        cf.run(FakeStep(PARAMS))


def test_an_anchor_of_another_space_is_refused() -> None:
    cf.run(FakeStep(PARAMS))
    make_previous()
    save(paths.PREVIOUS / "anchor.safetensors", replace(load(paths.ANCHOR), space_id="0" * 16))
    with pytest.raises(ArtifactError, match="made for CF space '0000000000000000'"):
        cf.run(FakeStep(PARAMS))


def test_a_shorter_item_map_than_the_earlier_one_is_refused() -> None:
    cf.run(FakeStep(PARAMS))
    make_previous()
    write_features(ROWS, items=5)
    with pytest.raises(ArtifactError, match="not of one line of generations"):
        cf.run(FakeStep(PARAMS))
