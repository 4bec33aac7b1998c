"""The Prefect server of a scheduler, without starting one: test_schedule_real does."""

import os
import socket
import stat
import sys
from pathlib import Path

import pytest

import flows.scheduler
from flows import schedule, scheduler_server
from flows.schedule_status import print_status, unit
from flows.scheduler import FILE, LOCK, Alive, Scheduler, _alone
from flows.scheduler_server import PORT, Server, _free_port
from ilm.errors import ArtifactError, ConfigError, IlmError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".ilm/prefect").mkdir(parents=True)
    return tmp_path


def test_port_stays_the_same_unless_somebody_has_it(home: Path) -> None:
    port = _free_port(home / PORT)
    assert _free_port(home / PORT) == port
    with socket.create_server(("127.0.0.1", port)):
        other = _free_port(home / PORT)
    assert other != port
    assert _free_port(home / PORT) == other


@pytest.mark.parametrize("text", ["", "x", "99999999", "-1"])
def test_port_that_is_none_is_chosen_anew(home: Path, text: str) -> None:
    (home / PORT).write_text(text)
    assert 0 < _free_port(home / PORT) < 65536


def test_server_that_is_named_is_not_started_here(home: Path) -> None:
    server = Server(home, {"PREFECT_API_URL": "http://prefect.example.org/api"})
    assert (server.is_own, server.keep_up(), server.address) == (False, True, "http://prefect.example.org/api")
    server.stop()


def test_address_with_a_password_is_refused_without_saying_it(home: Path) -> None:
    with pytest.raises(ConfigError, match="PREFECT_API_AUTH_STRING") as error:
        Server(home, {"PREFECT_API_URL": "http://me:secret-4711@prefect.example.org/api"})
    assert "4711" not in str(error.value)


def test_server_that_cannot_start_is_not_started_again_at_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    server = Server(home, {})
    for _ in range(3):
        assert server.keep_up() is False
        assert server._process is not None
        server._process.wait()
    assert "started again" not in capsys.readouterr().out
    monkeypatch.setattr(scheduler_server, "PAUSE_SECONDS", 0.0)
    assert server.keep_up() is False
    server._process.wait()
    assert "started again" in capsys.readouterr().out


def test_scheduler_is_alone_until_it_ends(home: Path) -> None:
    said = "another `ilm schedule --run` of this project is alive"
    with _alone(home), pytest.raises(IlmError, match=said), _alone(home):
        pytest.fail("two of them")
    with _alone(home):
        assert (home / LOCK).exists()


class Troubled(Server):
    """A server whose look-up goes wrong in some way."""

    error: Exception | None = None

    def keep_up(self) -> bool:
        if self.error is not None:
            raise self.error
        return False


@pytest.mark.parametrize(
    ("error", "said"),
    [(None, "does not answer yet"), (IlmError("No room."), "No room."), (KeyError("a defect"), "KeyError: 'a defect'")],
)
def test_what_goes_wrong_is_said_and_ends_nothing(home: Path, error: Exception | None, said: str) -> None:
    server = Troubled(home, {})
    server.error = error
    scheduler = Scheduler(home, server)
    scheduler.look()
    assert said in Alive.model_validate_json((home / FILE).read_bytes()).trouble
    server.error = None
    scheduler.look()
    assert "does not answer yet" in Alive.model_validate_json((home / FILE).read_bytes()).trouble
    scheduler.close()
    assert not (home / FILE).exists()


def test_full_disk_does_not_end_the_scheduler(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    scheduler = Scheduler(home, Troubled(home, {}))
    with monkeypatch.context() as patch:
        patch.setattr(flows.scheduler, "write_text", full)
        scheduler.look()
    assert not (home / FILE).exists()
    scheduler.look()
    assert (home / FILE).exists(), "written as soon as there is room"


def test_without_a_schedule_nothing_is_wrong(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert print_status(home) == 0
    assert capsys.readouterr().out.startswith("schedule   none. Set one")


@pytest.mark.parametrize("paused", [False, True])
def test_schedule_that_nobody_follows_is_a_problem_unless_it_is_paused(
    home: Path, capsys: pytest.CaptureFixture[str], paused: bool
) -> None:
    schedule.want(home, every_seconds=60)
    schedule.pause(home, paused)
    run = home / ".ilm/runs/20260101T030000-aaaaaa"
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"run": "20260101T030000-aaaaaa", "outcome": "refuse", "reasons": ["Too weak."]}')
    assert print_status(home) == int(not paused)
    printed = capsys.readouterr().out
    assert "problem    nothing follows the schedule. Start `ilm schedule --run`" in printed
    assert "last       20260101T030000-aaaaaa  refuse  Too weak." in printed


def test_scheduler_that_was_killed_does_not_count_as_alive(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schedule.want(home, every_seconds=60)
    dead = Alive(process="host@boot.1/1/1.00", address="", since=0, alerts=[], trouble="")
    (home / FILE).write_text(dead.model_dump_json())
    assert print_status(home) == 1
    assert "scheduler  none" in capsys.readouterr().out


def test_damaged_state_is_said(home: Path) -> None:
    schedule.want(home, every_seconds=60)
    (home / FILE).write_text("{")
    with pytest.raises(ArtifactError, match="scheduler.json: damaged"):
        print_status(home)


def test_unit_names_this_python_and_project(home: Path) -> None:
    lines = unit(home).splitlines()
    assert f"WorkingDirectory={home}" in lines
    assert f"ExecStart={sys.executable} -m flows.cli schedule --run" in lines
    assert os.stat(sys.executable).st_mode & stat.S_IXUSR  # noqa: PTH116


@pytest.mark.parametrize("name", ["a b", "50%", "x;y"])
def test_unit_for_a_path_that_systemd_would_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(IlmError, match="needs a path without"):
        unit(tmp_path / name)
