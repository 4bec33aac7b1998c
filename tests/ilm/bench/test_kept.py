"""A result is kept under what shapes it, and under nothing else."""

import os
from pathlib import Path

import pytest

from ilm.bench import kept
from ilm.bench.kept import key_of


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "folder").mkdir()
    (tmp_path / "table").write_text("rows")
    (tmp_path / "folder/weights").write_text("w")
    return [tmp_path / "table", tmp_path / "folder"]


def test_equal_work_has_equal_keys_whatever_the_order_of_settings(files: list[Path]) -> None:
    assert key_of({"a": 1, "b": 2}, files, ["files.py"]) == key_of({"b": 2, "a": 1}, files, ["files.py"])


def test_settings_inputs_and_code_each_change_the_key(files: list[Path]) -> None:
    keys = {
        key_of({"a": 1}, files, ["files.py"]),
        key_of({"a": 2}, files, ["files.py"]),
        key_of({"a": 1}, files[:1], ["files.py"]),
        key_of({"a": 1}, files, ["errors.py"]),
        key_of({"a": 1}, files, ["cf"]),
    }
    assert len(keys) == 5


def test_changed_content_changes_the_key_and_a_new_time_alone_does_not(files: list[Path]) -> None:
    before = key_of(0, files, [])
    os.utime(files[0], ns=(1, 1))
    assert key_of(0, files, []) == before
    (files[1] / "weights").write_text("v")
    assert key_of(0, files, []) != before


def test_change_of_code_changes_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "ROOT", tmp_path)
    (tmp_path / "cf").mkdir()
    keys = set()
    for text in ("a = 1", "a = 2"):
        (tmp_path / "cf/als.py").write_text(text)
        kept._code.cache_clear()
        keys.add(key_of(0, [], ["cf"]))
    kept._code.cache_clear()
    assert len(keys) == 2


def test_all_code_that_results_depend_on_exists() -> None:
    from ilm.bench import log_systems, training, trials

    for name in (*log_systems._TRAINED, *training._FINETUNE_CODE, *trials._RANKING_CODE, *trials._MODEL_CODE):
        assert (kept.ROOT / name).exists(), name
