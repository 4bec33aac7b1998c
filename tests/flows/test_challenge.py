"""What follows from the gate's word; the gate itself is in tests/ilm/gate, the registry in test_registry."""

from pathlib import Path
from types import SimpleNamespace

import pytest

import ilm.gate.judge
from flows import promotion
from flows.challenge import challenge
from flows.lease import LeaseLost
from flows.registry_store import Registry
from flows.worktree import Worktree
from ilm.errors import ArtifactError
from ilm.gate.decision import Decision


class FakeRegistry:
    """Remembers what it was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, champion: str | None, verdict: str) -> None:
        self.told: list[str] = []
        self.judged: tuple[Path | None, ...] = ()
        self.client = SimpleNamespace(log_artifacts=lambda run, folder, name: self.told.append(f"file {name} of {run}"))
        self._champion = champion

        def judge(challenger: Path, champion: Path | None, **about: object) -> Decision:
            self.judged = (challenger, champion)
            return Decision(verdict, ("The test said so.",))  # type: ignore[arg-type]

        monkeypatch.setattr(ilm.gate.judge, "judge", judge)
        monkeypatch.setattr(Registry, "open", lambda project: self)
        monkeypatch.setattr(promotion, "promote_first", self.name_challenger)
        monkeypatch.setattr(promotion, "promote", self.promote)

    def find(self, version: str) -> SimpleNamespace:
        return SimpleNamespace(run_id=f"run {version}")

    def folder(self, version: str) -> Path:
        return Path(version)

    def name_challenger(self, project: Path, version: str, bootstrap: bool, actor: str) -> str | None:
        assert not bootstrap
        self.told.append(f"challenger {version}")
        return self._champion

    def promote(self, project: Path, version: str, *, expected_champion: str, actor: str, evidence: Path) -> None:
        assert (actor, evidence) == ("ilm retrain run", project / "gate/decision.json")
        self.told.append(f"promote {version} in the place of {expected_champion}")


@pytest.fixture
def tree(tmp_path: Path) -> Worktree:
    (tmp_path / "params.yaml").write_text("")
    return Worktree(tmp_path, "run", "commit", tmp_path)


def ask(tree: Worktree, renew: object = lambda: None) -> tuple[str, tuple[str, ...], str | None]:
    return challenge(tree, "2", "commit", tree.home / "gate", renew)  # type: ignore[arg-type]


@pytest.mark.parametrize("verdict", ["refuse", "underpowered", "error"])
@pytest.mark.parametrize("champion", ["1", None])
def test_champion_stays_unless_the_gate_promotes(
    tree: Worktree, monkeypatch: pytest.MonkeyPatch, verdict: str, champion: str | None
) -> None:
    found = FakeRegistry(monkeypatch, champion, verdict)
    assert ask(tree) == (verdict, ("The test said so.",), champion)
    assert found.told == ["challenger 2", "file gate of run 2"]
    assert found.judged == (Path("2/artifacts/bundle"), Path("1/artifacts/bundle") if champion else None)


def test_gates_word_is_enough(tree: Worktree, monkeypatch: pytest.MonkeyPatch) -> None:
    found = FakeRegistry(monkeypatch, "1", "promote")
    assert ask(tree) == ("promote", ("The test said so.",), "2")
    assert found.told == ["challenger 2", "file gate of run 2", "promote 2 in the place of 1"]


def test_who_lost_the_lease_during_the_comparison_promotes_nobody(
    tree: Worktree, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = FakeRegistry(monkeypatch, "1", "promote")

    def lost() -> None:
        raise LeaseLost("it is another's")

    with pytest.raises(LeaseLost):
        ask(tree, lost)
    assert found.told == ["challenger 2"]


def test_champion_whose_files_are_gone_is_not_replaced(tree: Worktree, monkeypatch: pytest.MonkeyPatch) -> None:
    found = FakeRegistry(monkeypatch, "1", "promote")

    def gone(version: str) -> Path:
        raise ArtifactError(f"version {version}: its files cannot be had")

    monkeypatch.setattr(found, "folder", gone)
    with pytest.raises(ArtifactError):
        ask(tree)
    assert found.told == ["challenger 2"]
