"""Step `cf` on tiny tables."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_logs import FakeStep, with_params

from ilm.cf.factors import load
from ilm.data import schema
from ilm.errors import ArtifactError, DataError
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


def test_sequences_of_another_map_are_refused() -> None:
    write_features(ROWS, items=3)
    with pytest.raises(DataError, match="item_index runs from 0 to 4"):
        cf.run(FakeStep(PARAMS))


def test_missing_sequences_are_refused() -> None:
    paths.SEQUENCES.unlink()
    with pytest.raises(ArtifactError, match="sequences.parquet: not found"):
        cf.run(FakeStep(PARAMS))
