"""What is wanted: commands and their file. That it comes to be: test_schedule_real."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import cli, schedule
from flows.schedule import FILE, load, version
from ilm.errors import ArtifactError, ConfigError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ilm(monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    """Exit code of `ilm schedule`."""
    monkeypatch.setattr(sys, "argv", ["ilm", "schedule", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cron", "0 3 * * *"], 'cron "0 3 * * *" (UTC)'),
        (["--cron", "0 3 * * *", "--timezone", "Europe/Berlin"], 'cron "0 3 * * *" (Europe/Berlin)'),
        (["--every", "90m"], "every 1h30m"),
        (["--on-arrival"], "on arrival of log files"),
        (["--every", "1d", "--on-arrival"], "every 1d, on arrival of log files"),
    ],
)
def test_schedule_is_kept_and_said_with_what_is_still_missing(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert ilm(monkeypatch, *words) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"schedule  {said}\n")
    assert "nothing follows it yet. Start `ilm schedule --run`" in printed
    kept = load(home)
    assert kept is not None
    assert str(kept) == said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say when"),
        (["--pause", "--resume"], "say when"),
        (["--cron", "0 3 * * *", "--status"], "say when"),
        (["--cron", "0 3 * * *", "--every", "1h"], "not both"),
        (["--cron", "0 3 * *"], "--cron 0 3 * *: not known"),
        (["--cron", "0 3 * * *", "--timezone", "Mars/Base"], "--timezone Mars/Base: not known"),
        (["--every", "soon"], "--every soon: not a time"),
        (["--every", "0m"], "--every 0m: not a time"),
        (["--pause"], "there is no schedule"),
        (["--resume"], "there is no schedule"),
        (["--remove"], "there is no schedule"),
    ],
)
def test_wrong_use_changes_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert ilm(monkeypatch, *words) == 2
    assert said in capsys.readouterr().err
    assert not (home / FILE).exists()


def test_outside_a_project_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ilm(monkeypatch, "--every", "1h") == 2
    assert "Run from the project's root folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_pause_keeps_the_schedule_and_a_new_one_is_not_paused(home: Path) -> None:
    first = schedule.want(home, every_seconds=60)
    paused = schedule.pause(home, True)
    assert (paused.paused, paused.every_seconds, paused.since) == (True, 60, first.since)
    assert schedule.pause(home, False).paused is False
    schedule.pause(home, True)
    assert schedule.want(home, every_seconds=60).paused is False


def test_deployment_keeps_its_name_when_the_schedule_changes_or_is_removed_and_set_again(home: Path) -> None:
    name = schedule.want(home, every_seconds=60).name
    assert schedule.want(home, on_arrival=True).name == name
    removed = schedule.remove(home)
    assert (removed.name, removed.is_wanted) == (name, False)
    assert schedule.want(home, every_seconds=60).name == name


def test_every_command_makes_the_deployment_anew(home: Path) -> None:
    """So `--resume` also undoes what somebody has done in Prefect."""
    first = schedule.want(home, every_seconds=60)
    versions = {version(home, first), version(home, schedule.pause(home, False)), version(home / "moved", first)}
    assert len(versions) == 3
    loaded = load(home)
    assert loaded is not None
    assert version(home, loaded) in versions


@pytest.mark.parametrize("text", ["", "{}", '{"name": "x", "since": 0, "changed": 0, "cran": "* * * * *"}'])
def test_damaged_file_is_said(home: Path, text: str) -> None:
    schedule.want(home, every_seconds=60)
    (home / FILE).write_text(text)
    with pytest.raises(ArtifactError, match="schedule.json: damaged"):
        load(home)


@given(st.integers(1, 10_000_000))
def test_time_in_words_is_read_as_the_same_time(seconds: int) -> None:
    assert schedule.seconds(schedule.in_words(seconds)) == seconds


@pytest.mark.parametrize("text", ["1", "1w", "-1h", "1h 30m", "1m1h", "1.5h", "367d", "9" * 20 + "d"])
def test_time_that_could_be_misread_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not a time"):
        schedule.seconds(text)
