"""Real git, DVC and MLflow: a version of before, brought back while the working copy is in the middle of something."""

import shutil
from pathlib import Path

import pytest
import yaml

from flows.checkout import checkout
from flows.registry_store import Registry
from ilm.errors import ArtifactError, ConfigError
from tasks.lineage import dvc_md5
from tests.fake_project import git, run


def outs(folder: Path) -> dict[str, str]:
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage["outs"]}


@pytest.mark.parametrize(("version", "factors"), [("1", "2"), ("2", "3"), ("champion", "3"), ("previous", "2")])
def test_all_of_a_version_comes_back(home_of_two: Path, tmp_path: Path, version: str, factors: str) -> None:
    there = tmp_path / "there"
    found = checkout(home_of_two, version, there)
    assert found.notes == ()
    assert f"factors: {factors}" in (there / "params.yaml").read_text()
    assert (there / "data/features/cf.safetensors").read_text() == factors
    assert {path: dvc_md5(there / path) for path in outs(there)} == outs(there)
    assert "def ingest" in (there / "fake.py").read_text()


@pytest.mark.parametrize("version", ["1", "2"])
def test_there_is_nothing_to_do_in_it(home_of_two: Path, tmp_path: Path, version: str) -> None:
    checkout(home_of_two, version, tmp_path / "there")
    assert "Data and pipelines are up to date." in run(tmp_path / "there", "-m", "dvc", "status").stdout
    again = run(tmp_path / "there", "-m", "dvc", "repro")
    assert again.returncode == 0, again.stderr
    assert "Running stage" not in again.stdout


def test_source_data_come_back_though_git_does_not_know_them_and_they_have_changed(
    home_of_two: Path, tmp_path: Path
) -> None:
    checkout(home_of_two, "2", tmp_path / "there")
    raw = tmp_path / "there/data/raw"
    assert {file.name: file.read_text() for file in raw.glob("*.txt")} == {
        "log.txt": "a log\n",
        "unknown_to_git.txt": "more\n",
    }
    checkout(home_of_two, "1", tmp_path / "one")
    assert [file.name for file in (tmp_path / "one/data/raw").glob("*.txt")] == ["log.txt"]


def test_working_copy_is_not_touched(home_of_two: Path, tmp_path: Path) -> None:
    def state() -> list[str]:
        told = [git(home_of_two, *words.split()) for words in ("status --porcelain", "rev-parse HEAD", "worktree list")]
        tools = [home_of_two / name for name in (".dvc", ".git/index", "mlflow.db", ".mlflow.db.lock")]
        files = [file for file in sorted(home_of_two.rglob("*")) if not any(map(file.is_relative_to, tools))]
        return [*told, *(f"{file} {file.stat().st_mtime_ns}" for file in files if file.is_file())]

    before = state()
    checkout(home_of_two, "1", tmp_path / "there")
    assert state() == before


def test_folder_with_something_in_it_is_left_alone(home_of_two: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    checkout(home_of_two, "1", there)
    (there / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="there is something already"):
        checkout(home_of_two, "2", there)
    assert (there / "mine.txt").read_text() == "mine"
    with pytest.raises(ConfigError, match="there is something already"):
        checkout(home_of_two, "2", there / "mine.txt")


def test_version_that_does_not_exist_leaves_no_folder(home_of_two: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no version 7"):
        checkout(home_of_two, "7", tmp_path / "there")
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("path", ["data/features/cf.safetensors", "data/models/ilm", "data/models/ilm/config.json"])
def test_what_is_missing_everywhere_is_named_and_nothing_half_done_is_left(
    home_of_two: Path, tmp_path: Path, path: str
) -> None:
    checkout(home_of_two, "1", tmp_path / "whole")
    md5 = dvc_md5(tmp_path / "whole" / path)
    (home_of_two / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    with pytest.raises(ArtifactError, match=rf"nor in a remote: {path} \(md5 {md5}\)"):
        checkout(home_of_two, "1", tmp_path / "there")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["home", "whole"]


def test_what_the_cache_lacks_comes_from_the_remote(home_of_two: Path, tmp_path: Path) -> None:
    assert run(home_of_two, "-m", "dvc", "remote", "add", "-d", "store", str(tmp_path / "remote")).returncode == 0
    checkout(home_of_two, "1", tmp_path / "first")
    assert run(tmp_path / "first", "-m", "dvc", "push").returncode == 0
    shutil.rmtree(home_of_two / ".dvc/cache")
    checkout(home_of_two, "1", tmp_path / "second")
    assert {path: dvc_md5(tmp_path / "second" / path) for path in outs(tmp_path / "first")} == outs(tmp_path / "first")


def test_password_of_a_remote_does_not_go_with_the_folder(home_of_two: Path, tmp_path: Path) -> None:
    local = home_of_two / ".dvc/config.local"
    local.write_text(
        "[core]\n    remote = store\n['remote \"store\"']\n    url = s3://nowhere\n    secret_access_key = secret\n"
    )
    checkout(home_of_two, "1", tmp_path / "there")
    files = [file for file in (tmp_path / "there").rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if b"secret" in file.read_bytes()]
    assert "secret" in local.read_text()


def test_commit_that_this_clone_lacks_is_said_and_the_rest_comes(home_of_two: Path, tmp_path: Path) -> None:
    registry = Registry.open(home_of_two)
    registry.client.set_model_version_tag(registry.name, "1", "git.commit", "0" * 40)
    registry.client.set_model_version_tag(registry.name, "1", "git.dirty", "true")
    found = checkout(home_of_two, "1", tmp_path / "there")
    assert found.notes[0].startswith("no code: commit 000000000000 is not in this repository")
    assert "not committed" in found.notes[1]
    assert (tmp_path / "there/data/features/cf.safetensors").read_text() == "2"
    assert (tmp_path / "there/dvc.yaml").is_file()


def test_checkout_into_the_project_itself_works(home_of_two: Path) -> None:
    checkout(home_of_two, "1", home_of_two / "versions/1")
    done = run(home_of_two / "versions/1", "-m", "dvc", "status")
    assert "up to date" in done.stdout, done.stderr
