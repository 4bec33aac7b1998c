"""`ilm elm` on a tiny project with tiny models: everything is made once, and wrong requests are refused first."""

import sys
from pathlib import Path

import pytest
import yaml

from flows import cli
from flows.elm import Request, elm
from ilm.elm.comparison import METRICS
from ilm.errors import ConfigError
from ilm.files import digest, read_json
from tests.conftest import put_store
from tests.fake_project import git
from tests.ilm.elm.conftest import ELM
from tests.tiny_project import write_project

HELD_OUT = {"held_out_fraction": 0.34}
WORDS = ("elm", "--systems", "ilm", "text", "--seeds", "2", "--set", "elm.held_out_items=2")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A project after `ilm elm`."""
    sections = {"pretrain": HELD_OUT | {"steps": 2}, "finetune": HELD_OUT, "evaluate": {"bootstrap_samples": 200}}
    folder = write_project(tmp_path_factory.mktemp("elm") / "project", elm=ELM, **sections)
    own = folder / "params.yaml"
    params = yaml.safe_load(own.read_text())
    params["elm"] |= {"teacher_model": str(folder / "llama"), "sentence_encoder": str(folder / "bert")}
    own.write_text(yaml.safe_dump(params))
    git(folder, "init", "--quiet")
    git(folder, "add", "params.yaml")
    git(folder, "commit", "--quiet", "--message", "start")
    put_store(empty_store, folder)
    run(folder, WORDS)
    return folder


def run(project: Path, words: tuple[str, ...]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'mlflow.db'}")
        patch.chdir(project)
        patch.setattr(sys, "argv", ["ilm", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0


def test_results_say_how_they_came(project: Path) -> None:
    folder = project / "reports/elm"
    metrics = read_json(folder / "metrics.json")
    assert {"ilm", "text"} < metrics[METRICS[0]]["intervals"].keys()
    assert metrics["references"]["items"] == {"training": 3, "held_out": 2}
    assert (folder / "command.txt").read_text() == f"ilm {' '.join(WORDS)}\n"
    assert yaml.safe_load((folder / "params.yaml").read_text())["elm"]["held_out_items"] == 2
    assert read_json(folder / "environment.json")["git.commit"]
    assert "| ilm | " in (folder / "table.md").read_text()


def test_what_is_trained_has_as_many_seeds_as_asked_for(project: Path) -> None:
    assert len(list((project / ".bench/project/elm/models").glob("*.json"))) == 2 + 1  # text learns nothing
    deviations = {
        system: tasks["average"]["seed_deviation"]
        for system, tasks in read_json(project / "reports/elm/metrics.json")[METRICS[0]]["intervals"].items()
    }
    assert deviations["ilm"] is not None
    assert deviations["text"] is None


def test_the_same_command_asks_and_trains_nothing_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise AssertionError("made again")

    before = digest(project / "reports/elm/scores.parquet")
    for name in (
        "ilm.elm.run_training.train_system",
        "ilm.elm.run_references.asked",
        "ilm.bench.training.run_pretrain",
    ):
        monkeypatch.setattr(name, fail)
    run(project, WORDS)
    assert digest(project / "reports/elm/scores.parquet") == before


@pytest.mark.parametrize("sets", [("finetune.seed=7",), ("pretrain.held_out_fraction=0.1",)])
def test_items_that_stage_1_has_read_are_not_judged_by(project: Path, sets: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"stage 1 must not have read.*pretrain\.seed must be finetune\.seed"):
        elm(project, Request(overrides=sets))


def test_a_system_without_a_language_model_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"called als\. There are: ilm, ilm-rand"):
        elm(project, Request(systems=("ilm", "als")))
