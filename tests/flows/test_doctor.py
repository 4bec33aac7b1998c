import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows import doctor
from flows.doctor import Finding
from ilm.errors import ArtifactError
from tests.fake_project import ROOT


def levels(check: Callable[[Path], Iterator[Finding]], project: Path) -> dict[str, str]:
    """Subject -> worst level."""
    worst: dict[str, str] = {}
    for finding in doctor.guarded(check, project):
        worst[finding.subject] = max(worst.get(finding.subject, "ok"), finding.level, key=["ok", "warn", "fail"].index)
    return worst


def test_this_environment_is_as_pinned() -> None:
    assert levels(doctor.packages, ROOT) == {"packages": "ok"}


def test_packages_of_an_extra_may_be_missing_but_not_of_another_version(tmp_path: Path) -> None:
    for pins, level in (("no-such-package==1.0", "ok"), ("numpy==1.0.0", "warn")):
        (tmp_path / "constraints.txt").write_text(
            f"pytest=={doctor.installed_version('pytest')}\n{doctor.OPTIONAL}:\n{pins}\n"
        )
        assert levels(doctor.packages, tmp_path) == {"packages": level}


@pytest.mark.parametrize(
    ("pins", "level"),
    [("numpy==1.0.0\n", "warn"), ("no-such-package==1.0\n", "fail"), ("no-such-package==1.0\nnumpy==1.0.0\n", "fail")],
)
def test_other_and_missing_packages_are_named_with_the_remedy(tmp_path: Path, pins: str, level: str) -> None:
    (tmp_path / "constraints.txt").write_text(pins)
    assert levels(doctor.packages, tmp_path) == {"packages": level}
    assert all("make setup" in finding.message for finding in doctor.packages(tmp_path))


def test_missing_constraints_are_a_warning(tmp_path: Path) -> None:
    assert levels(doctor.packages, tmp_path) == {"packages": "warn"}


def test_wrong_python_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor.sys, "version_info", (3, 13, 0))
    assert levels(doctor.python, tmp_path) == {"python": "fail"}


def test_too_little_memory_or_disk_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "MEMORY_GIB", 10**6)
    monkeypatch.setattr(doctor, "DISK_GIB", 10**6)
    assert levels(doctor.hardware, tmp_path) == {"cores": "ok", "memory": "warn", "disk": "warn"}


def test_built_in_data_is_found(project: Path) -> None:
    assert levels(doctor.settings, project) == {"settings": "ok", "data": "ok"}


def test_own_data_that_is_not_there_fails(project: Path) -> None:
    (project / "params.yaml").write_text("data: {source: folder}\n")
    assert levels(doctor.settings, project) == {"settings": "ok", "data": "fail"}
    for name in ("interactions.csv", "items.jsonl"):
        (project / "data/raw" / name).touch()
    assert levels(doctor.settings, project) == {"settings": "ok", "data": "ok"}


def test_wrong_settings_fail_with_the_message_that_a_step_gives(project: Path) -> None:
    (project / "params.yaml").write_text("data: {colour: red}\n")
    (finding,) = doctor.guarded(doctor.settings, project)
    assert finding.level == "fail"
    assert "data.colour" in finding.message


def test_damaged_model_fails_and_the_other_is_still_looked_at(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(name: str) -> Path:
        if "smol" in name:
            raise ArtifactError("its SHA-256 is wrong. Reinstall.")
        return Path("/models") / name

    monkeypatch.setattr("ilm.model.builtin.resolve", resolve)
    assert levels(doctor.models, project) == {"llm": "fail", "text encoder": "ok"}


def test_committed_project_is_well_versioned(project: Path) -> None:
    assert levels(doctor.versioning, project) == {"git": "ok", "dvc": "ok"}


def test_uncommitted_changes_are_a_warning(project: Path) -> None:
    (project / "fake.py").write_text("changed")
    assert levels(doctor.versioning, project) == {"git": "warn", "dvc": "ok"}


def test_project_without_git_and_dvc_fails(project: Path) -> None:
    shutil.rmtree(project / ".git")
    shutil.rmtree(project / ".dvc")
    assert levels(doctor.versioning, project)["dvc"] == "fail"


def test_tracking_store_that_does_not_open_fails(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert levels(doctor.tracking, project) == {"tracking": "ok"}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////nowhere/mlflow.db")
    assert levels(doctor.tracking, project) == {"tracking": "fail"}


def test_check_that_breaks_is_a_finding_of_its_own(tmp_path: Path) -> None:
    def broken(project: Path) -> Iterator[Finding]:
        yield Finding("ok", "first", "fine")
        raise RuntimeError("boom")

    assert levels(broken, tmp_path) == {"first": "ok", "broken": "fail"}


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_exit_code_is_1_only_when_something_fails(
    level: doctor.Level, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda project: iter([Finding(level, "subject", "what and how to mend it")]))
    assert doctor.print_findings(tmp_path) == code
    assert capsys.readouterr().out.split() == [level, "subject", *["what", "and", "how", "to", "mend", "it"]]
