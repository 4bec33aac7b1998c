"""The way back, end to end: real bundles in a real registry, two trainings by the pipeline, and a champion in ruins."""

import math
import shutil
import sys
from pathlib import Path

import pytest

from flows import cli, registry
from flows.promotion import promote, rollback
from flows.registry_store import Registry, Serving
from ilm.errors import ArtifactError
from ilm.serve import item_language_model
from ilm.serve.question import Reply
from tests.flows.test_registry import StandIn


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_language_model, "ItemLanguageModel", StandIn)


def bundle(project: Path, version: str) -> Path:
    return registry.bundle_of(Registry.open(project), version)


def recommended(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> int:
    """How many items `ilm recommend` gives: the stand-in's are as many as its factors."""
    capsys.readouterr()
    ilm(monkeypatch, "recommend", "--user", "u")
    return len(capsys.readouterr().out.splitlines())


def ilm(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["ilm", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0


def test_one_command_brings_the_old_champion_back_to_its_users(
    home_of_two: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recommended(home_of_two, monkeypatch, capsys) == 3
    ilm(monkeypatch, "rollback", "--because", "It recommends nonsense.")
    assert "version 1 of model 'ilm' is champion again" in capsys.readouterr().out
    assert recommended(home_of_two, monkeypatch, capsys) == 2
    ilm(monkeypatch, "history")
    assert "rollback" in capsys.readouterr().out


def test_it_works_when_the_champions_files_are_gone(
    home_of_two: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(bundle(home_of_two, "2").parents[1])
    for part in ("data", ".dvc", "reports"):
        shutil.rmtree(home_of_two / part)
    with pytest.raises(ArtifactError, match="files cannot be had"):
        registry.champion_bundle(home_of_two)
    rollback(home_of_two)
    assert recommended(home_of_two, monkeypatch, capsys) == 2


def test_it_does_not_go_back_to_a_version_that_is_damaged(home_of_two: Path) -> None:
    (bundle(home_of_two, "1") / "catalogue.parquet").write_text("damaged")
    with pytest.raises(ArtifactError, match="version 1: its files have digest"):
        rollback(home_of_two)
    assert Registry.open(home_of_two).serving() == Serving("2", "1")


def test_it_does_not_go_back_to_a_version_whose_files_are_gone(home_of_two: Path) -> None:
    shutil.rmtree(bundle(home_of_two, "1").parents[1])
    with pytest.raises(ArtifactError, match="version 1: its files cannot be had"):
        rollback(home_of_two)
    assert Registry.open(home_of_two).serving() == Serving("2", "1")


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_model_with_scores_that_are_no_numbers_is_not_promoted(
    finished: Path, monkeypatch: pytest.MonkeyPatch, score: float
) -> None:
    version = registry.register(finished)
    monkeypatch.setattr(StandIn, "score", score)
    with pytest.raises(ArtifactError, match="scores that are no numbers"):
        promote(finished, version, expected_champion=None, bootstrap=True)
    assert Registry.open(finished).aliases() == {}


def test_model_that_recommends_nothing_is_not_promoted(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = registry.register(finished)
    monkeypatch.setattr(StandIn, "answer", lambda self, questions: [Reply("", []) for _ in questions])
    with pytest.raises(ArtifactError, match="recommends nothing"):
        promote(finished, version, expected_champion=None, bootstrap=True)
    assert Registry.open(finished).aliases() == {}


def test_damaged_bundle_is_not_promoted(finished: Path) -> None:
    version = registry.register(finished)
    (bundle(finished, version) / "catalogue.parquet").write_text("damaged")
    with pytest.raises(ArtifactError, match="digest"):
        promote(finished, version, expected_champion=None, bootstrap=True)
    assert Registry.open(finished).aliases() == {}
