from pathlib import Path

import pytest
import yaml

from ilm.errors import ArtifactError, ConfigError
from ilm.params import DataParams, Params
from tasks.lineage import dvc_md5, origin, read_stage
from tests.fake_project import git

GRAPH = """
stages:
  ingest:
    cmd: python -m tasks.ingest
    params: [data, cf.factors]
    deps: [tasks/ingest.py, ilm/data, "${data.folder}"]
    outs:
      - data/interim/items.parquet:
          persist: true
      - data/interim/interactions.parquet
    metrics: [reports/cost/ingest.json, reports/metrics.json]
"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    return tmp_path / "dvc.yaml"


def test_inputs_are_data_only_and_templates_are_filled_in(graph: Path) -> None:
    stage = read_stage("ingest", Params(data=DataParams(folder="my/logs")), graph)
    assert stage.inputs == (Path("my/logs"),)


def test_outputs_are_all_but_the_cost_file(graph: Path) -> None:
    outputs = read_stage("ingest", Params(), graph).outputs
    assert set(map(str, outputs)) == {
        "data/interim/items.parquet",
        "data/interim/interactions.parquet",
        "reports/metrics.json",
    }


def test_settings_are_those_that_the_stage_depends_on(graph: Path) -> None:
    settings = read_stage("ingest", Params(), graph).settings
    assert settings["cf.factors"] == "64"
    assert {name for name in settings if not name.startswith("data.")} == {"cf.factors"}


@pytest.mark.parametrize(("name", "message"), [("dream", "no stage 'dream'"), ("ingest", "not found")])
def test_unknown_stage_and_missing_graph_are_mistakes_with_a_message(graph: Path, name: str, message: str) -> None:
    if message == "not found":
        graph.unlink()
    with pytest.raises(ConfigError, match=message):
        read_stage(name, Params(), graph)


def test_md5_is_what_dvc_writes_for_files_and_folders(finished_project: Path) -> None:
    lock = yaml.safe_load((finished_project / "dvc.lock").read_text())
    entries = [e for stage in lock["stages"].values() for e in (*stage["deps"], *stage["outs"])]
    assert any(entry["md5"].endswith(".dir") for entry in entries)
    for entry in entries:
        assert dvc_md5(finished_project / entry["path"]) == entry["md5"]


def test_folder_with_subfolders_has_the_md5_that_dvc_gives_it(tmp_path: Path) -> None:
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db import HashFileDB
    from dvc_objects.fs.local import LocalFileSystem

    for name in ("b/z.txt", "b/a.txt", "a-b.txt", ".hidden"):
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_text(name)
    files = LocalFileSystem()
    _, _, tree = build(HashFileDB(files, str(tmp_path / "cache")), str(tmp_path / "folder"), files, "md5")
    assert dvc_md5(tmp_path / "folder") == tree.hash_info.value


def test_md5_of_what_is_missing_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not found"):
        dvc_md5(tmp_path / "nothing")


def test_origin_tells_uncommitted_changes(project: Path) -> None:
    assert origin(project)["git.dirty"] == "false"
    (project / "fake.py").write_text("changed")
    assert origin(project) == {
        "git.commit": git(project, "rev-parse", "HEAD"),
        "git.dirty": "true",
        "dvc.lock.sha256": "none",
    }


def test_origin_without_git_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert origin(tmp_path) == {"git.commit": "none", "git.dirty": "unknown", "dvc.lock.sha256": "none"}
