"""Factors on disk: byte-stable, strict to load, and tied to one vector space."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ilm.cf.factors import Factors, load, require_space, save, space_identity
from ilm.errors import ArtifactError

SETTINGS = {"regularization": 0.05, "alpha": 10.0, "iterations": 3, "seed": 7}
MAPS = {"item_map_hash": "a" * 64, "user_map_hash": "b" * 64}


def make_factors() -> Factors:
    rng = np.random.default_rng(0)
    items = rng.normal(size=(5, 3)).astype(np.float32)
    users = rng.normal(size=(4, 3)).astype(np.float32)
    return Factors(items, users, space_identity(items, **SETTINGS, **MAPS), **SETTINGS, **MAPS)


def rewrite(path: Path, tensors: dict | None = None, metadata: dict | None = None) -> None:
    """Save `path` again with other tensors or metadata, past our own checks."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        header = file.metadata()
    save_file(tensors if tensors is not None else load_file(path), path, metadata if metadata is not None else header)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(tmp_path / "cf.safetensors", make_factors())
    return tmp_path / "cf.safetensors"


def test_load_gives_back_what_was_saved(saved: Path) -> None:
    expected, loaded = make_factors(), load(saved)
    assert np.array_equal(loaded.item_factors, expected.item_factors)
    assert np.array_equal(loaded.user_factors, expected.user_factors)
    blank = {"item_factors": np.zeros(0), "user_factors": np.zeros(0)}
    assert str(replace(loaded, **blank)) == str(replace(expected, **blank))


def test_equal_factors_give_equal_bytes_in_other_processes(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from ilm.cf.factors import Factors, save;"
        "rows = np.ones((5, 3), np.float32);"
        "save(sys.argv[1], Factors(rows, rows, 's', 'i', 'u', .1, 2., 3, 4))"
    )
    digests = set()
    for run in range(3):
        path = tmp_path / f"{run}.safetensors"
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="dvc repro cf"):
        load(tmp_path / "cf.safetensors")


def test_truncated_file_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-10])
    with pytest.raises(ArtifactError, match="damaged"):
        load(saved)


def test_file_that_is_not_safetensors_is_refused(saved: Path) -> None:
    saved.write_bytes(b"not a tensor file at all")
    with pytest.raises(ArtifactError, match="damaged"):
        load(saved)


def test_missing_tensor_is_refused(saved: Path) -> None:
    rewrite(saved, tensors={"item_factors": np.ones((5, 3), np.float32)})
    with pytest.raises(ArtifactError, match=r"\['item_factors'\] instead of"):
        load(saved)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (np.ones((5, 3), np.float64), "float64"),
        (np.ones(15, np.float32), "not a float32 matrix"),
        (np.ones((0, 3), np.float32), "not a float32 matrix"),
        (np.ones((5, 2), np.float32), "different widths"),
        (np.array([[1, 1, 1], [1, np.nan, 1]], np.float32), r"NaN or infinity \(first in row 1\)"),
        (np.array([[1, 1, np.inf]], np.float32), "NaN or infinity"),
    ],
)
def test_unsound_tensor_is_refused_by_load_and_by_save(saved: Path, items: np.ndarray, message: str) -> None:
    rewrite(saved, tensors={**load_file(saved), "item_factors": items})
    with pytest.raises(ArtifactError, match=message):
        load(saved)
    with pytest.raises(ArtifactError, match=message):
        save(saved, replace(make_factors(), item_factors=items))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "metadata missing"),
        ({"cf": "{"}, "metadata missing or unreadable"),
        ({"cf": "[]"}, "metadata missing or unreadable"),
        ({"cf": '{"space_id": "x"}'}, "item_map_hash"),
    ],
)
def test_missing_metadata_is_refused(saved: Path, metadata: dict[str, str], message: str) -> None:
    rewrite(saved, metadata=metadata)
    with pytest.raises(ArtifactError, match=message):
        load(saved)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"alpha": 10.0', '"alpha": "10"', "wrong type"),
        ('"seed": 7', '"seed": 7, "extra": 1', "unknown"),
        ('"factors": 3', '"factors": 4', "not the width"),
    ],
)
def test_wrong_metadata_is_refused(saved: Path, old: str, new: str, message: str) -> None:
    from safetensors import safe_open

    with safe_open(saved, framework="numpy") as file:
        text = file.metadata()["cf"]
    assert old in text
    rewrite(saved, metadata={"cf": text.replace(old, new)})
    with pytest.raises(ArtifactError, match=message):
        load(saved)


def test_space_is_named_by_vectors_settings_and_maps() -> None:
    items = np.ones((3, 2), np.float32)
    name = space_identity(items, **SETTINGS, **MAPS)
    others = [
        space_identity(items * 2, **SETTINGS, **MAPS),
        space_identity(items.reshape(2, 3), **SETTINGS, **MAPS),
        *(space_identity(items, **{**SETTINGS, **MAPS, key: 99}) for key in {**SETTINGS, **MAPS}),
    ]
    assert len(name) == 16
    assert int(name, 16) >= 0
    assert len({name, *others}) == 1 + len(others)


def test_another_space_is_refused() -> None:
    factors = make_factors()
    require_space(factors, factors.space_id, "data/models/ilm")
    with pytest.raises(ArtifactError, match="data/models/ilm: made for CF space 'other'"):
        require_space(factors, "other", "data/models/ilm")
