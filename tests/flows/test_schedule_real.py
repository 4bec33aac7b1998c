"""A schedule that really fires: scheduler, Prefect server on loopback, and retrains whose steps do next to nothing.

Faults are real, too: kill -9 of scheduler, server and flow at chosen moments, then a restart.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from prefect.client.schemas.filters import FlowRunFilter

from flows import lease, schedule
from flows.lease import holder
from flows.scheduler import FILE, Alive
from flows.scheduler_prefect import connected
from flows.scheduler_server import HOME, Server
from tests.conftest import put_store
from tests.fake_project import ROOT, git, run, wait_until
from tests.fake_retrain import GATE, make_retrain_project

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")

STEPS_OF_THE_TEST = f"""\
import sys
if "prefect.engine" in sys.orig_argv:
{"".join(f"    {line}".rstrip() + chr(10) for line in GATE.splitlines())}
    import flows.stages
    flows.stages.STEPS = ("ingest", "cf", "evaluate")
"""
"""A sitecustomize.py: the process of a flow run gets the fake project's steps and gate; all else is true."""
SECRET = "hooks-token-4711"
ALERT = f"{sys.executable} -c \"import sys; open('alerts.txt', 'a').write(sys.stdin.read() + chr(10))\" {SECRET}"


@pytest.fixture(scope="session")
def empty_prefect(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a Prefect server that has just been made, to be copied: making one takes ten seconds."""
    home = tmp_path_factory.mktemp("server")
    server = Server(home, {})
    try:
        wait_until(server.keep_up, 180)
    finally:
        server.stop()
    return home / HOME / "prefect.db"


@pytest.fixture
def home(tmp_path: Path, empty_store: Path, empty_prefect: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project that was never trained. Whatever runs in it bears this test's PAUSE in its environment."""
    folder = make_retrain_project(tmp_path / "home")
    settings = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(settings.replace("data:\n", "data:\n  settle_seconds: 0\n"))
    git(folder, "commit", "--quiet", "--all", "--message", "settings")
    (folder / "data/logs").mkdir()
    put_store(empty_store, folder)
    (folder / HOME).mkdir(parents=True)
    shutil.copyfile(empty_prefect, folder / HOME / "prefect.db")
    (tmp_path / "pause").mkdir()
    (tmp_path / "fakes").mkdir()
    (tmp_path / "fakes/sitecustomize.py").write_text(STEPS_OF_THE_TEST)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'fakes'}{os.pathsep}{ROOT}")
    monkeypatch.setenv("PAUSE", str(tmp_path / "pause"))
    monkeypatch.setenv("GATE_SAYS", "refuse")
    monkeypatch.setenv("ILM_ALERT_COMMAND", ALERT)
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "ILM_ALERT_URL"):
        monkeypatch.delenv(name, raising=False)
    yield folder
    for process in processes(folder):
        process.kill()


class Running:
    """An `ilm schedule --run`, and what it has printed."""

    def __init__(self, home: Path) -> None:
        self.home, self._log = home, home.parent / "log.txt"
        self._from = len(self._log.read_text()) if self._log.exists() else 0
        with self._log.open("a") as log:
            words = [sys.executable, "-m", "flows.cli", "schedule", "--run"]
            self.process = subprocess.Popen(words, cwd=home, stdout=log, stderr=log)

    @property
    def printed(self) -> str:
        return self._log.read_text()[self._from :]

    def wait_for(self, words: str, times: int = 1, seconds: float = 90) -> None:
        wait_until(lambda: self.printed.count(words) >= times or self.process.poll() is not None, seconds)
        assert self.printed.count(words) >= times, self.printed

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=90)


def processes(home: Path) -> list[psutil.Process]:
    """All living processes, on the whole machine, that belong to this test's project."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PAUSE") == str(home.parent / "pause") and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:  # another user's, or gone
            continue
    return found


def the(home: Path, *words: str) -> psutil.Process:
    """The living process whose command line has the words."""
    living = (process for process in processes(home) if process.status() != psutil.STATUS_ZOMBIE)
    (found,) = (process for process in living if set(words) <= set(process.cmdline()))
    return found


def states(home: Path) -> list[str]:
    """Names of the states of all flow runs that are not in the future, in the order in which they began to be."""
    with closing(sqlite3.connect(home / HOME / "prefect.db")) as database:
        rows = database.execute("SELECT state_name FROM flow_run WHERE state_type != 'SCHEDULED' ORDER BY created")
        return [name for (name,) in rows]


def status(home: Path) -> "subprocess.CompletedProcess[str]":
    return run(home, "-m", "flows.cli", "schedule", "--status")


def events(home: Path) -> list[str]:
    """What the alert hook was told."""
    file = home / "alerts.txt"
    return [json.loads(line)["event"] for line in file.read_text().splitlines()] if file.exists() else []


def drop(home: Path, name: str = "day.csv") -> None:
    """A log file arrives."""
    (home / "data/logs" / name).write_text("user_id,item_id,timestamp\n")


def looks_on(running: Running, times: int = 3) -> None:
    """Until the scheduler has asked the server again so often."""
    polls = {polled(running.home)}

    def again() -> bool:
        polls.add(polled(running.home))
        return len(polls) > times

    wait_until(again)


def polled(home: Path) -> str:
    """When the scheduler last asked its server for work."""
    with closing(sqlite3.connect(home / HOME / "prefect.db")) as database:
        return str(database.execute("SELECT last_polled FROM deployment").fetchall())


def until_cf(home: Path) -> Running:
    """A scheduler whose first retrain, on arrival of a file, has come to step `cf` and stays there."""
    schedule.want(home, on_arrival=True)
    drop(home)
    (home.parent / "pause/cf").touch()
    running = Running(home)
    running.wait_for("cf  started")
    wait_until(lambda: any((home / ".ilm/worktrees").glob("*/data/features/cf.safetensors")))
    return running


def test_schedule_fires_and_a_run_beside_another_retrain_is_skipped(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS", "1")  # 5, by default
    schedule.want(home, every_seconds=2)
    held = lease.acquire(home, "ilm retrain", 60)
    running = Running(home)
    running.wait_for("schedule  Skipped: a retrain is under way: `ilm retrain`")
    held.release()
    second = run(home, "-m", "flows.cli", "schedule", "--run")
    assert second.returncode == 2
    assert "another `ilm schedule --run` of this project is alive" in second.stderr
    listening = {at.laddr.ip for at in the(home, "server").net_connections() if at.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    assert running.stop() == 0
    assert processes(home) == []
    assert states(home)[0] == "Skipped"
    assert events(home) == [], "that is no failure"


@pytest.mark.slow
def test_enough_fresh_data_is_retrained_and_too_little_is_said(home: Path) -> None:
    schedule.want(home, every_seconds=5)
    running = Running(home)
    running.wait_for("schedule  Refused: ")
    running.wait_for("schedule  Too little: ")
    assert "0 interactions more than at the last run; retrain.min_new_interactions asks for 1." in running.printed
    looked = status(home)
    assert (looked.returncode, looked.stderr) == (0, "")
    assert "Refused" in looked.stdout
    assert "Too little" in looked.stdout
    assert "problem" not in looked.stdout
    assert running.stop() == 0
    assert events(home) == ["refused"]
    kept = [file for file in home.rglob("*") if file.is_file()]
    assert [file for file in [*kept, home.parent / "log.txt"] if SECRET.encode() in file.read_bytes()] == []


@pytest.mark.slow
def test_killed_flow_is_marked_told_and_made_up_for_once(home: Path) -> None:
    running = until_cf(home)
    assert status(home).returncode == 0
    the(home, "prefect.engine").kill()
    running.wait_for("cf  started", times=2)
    assert events(home) == ["failed"]
    the(home, "prefect.engine").kill()
    running.wait_for("schedule  the process of the retrain ended with exit code -9", times=2)
    wait_until(lambda: events(home) == ["failed", "failed"])
    assert states(home) == ["Crashed", "Crashed"]
    assert holder(home) is None
    assert not any("fake.py" in process.cmdline() for process in processes(home))
    looks_on(running)
    assert states(home) == ["Crashed", "Crashed"], "of the same files it is not tried for ever"
    assert running.stop() == 0
    assert processes(home) == []


@pytest.mark.slow
def test_killed_scheduler_leaves_no_process_and_its_run_is_made_up_for(home: Path) -> None:
    killed = until_cf(home)
    assert status(home).returncode == 0
    killed.stop(signal.SIGKILL)
    wait_until(lambda: processes(home) == [] and holder(home) is None)
    looked = status(home)
    assert looked.returncode == 1
    assert "nothing follows the schedule. Start `ilm schedule --run`" in looked.stdout
    (home.parent / "pause/cf").unlink()
    again = Running(home)
    again.wait_for("schedule  Refused: ")
    assert "which was cut short" in again.printed
    assert "ingest  started" not in again.printed, "finished stages come from the cache"
    assert states(home) == ["Crashed", "Refused"]
    assert events(home) == ["failed", "refused"]
    assert again.stop() == 0


@pytest.mark.slow
def test_killed_server_is_started_again_and_the_run_comes_to_its_end(home: Path) -> None:
    running = until_cf(home)
    engine = the(home, "prefect.engine")
    the(home, "server").kill()
    running.wait_for("schedule  the Prefect server has ended; it is started again")
    running.wait_for("schedule  works", times=2)
    assert engine.is_running()
    (home.parent / "pause/cf").unlink()
    running.wait_for("schedule  Refused: ")
    assert states(home) == ["Refused"]
    assert events(home) == ["refused"]
    assert running.stop() == 0


@pytest.mark.slow
def test_stopped_scheduler_cleans_up_and_makes_up_for_the_run_at_its_next_start(home: Path) -> None:
    stopped = until_cf(home)
    assert stopped.stop() == 0
    assert processes(home) == []
    assert holder(home) is None
    assert list((home / ".ilm/worktrees").iterdir()) == []
    assert states(home) == ["Crashed"]
    assert events(home) == [], "somebody wished it"
    (home.parent / "pause/cf").unlink()
    again = Running(home)
    again.wait_for("schedule  Refused: ")
    assert again.stop() == 0
    assert states(home) == ["Crashed", "Refused"]


@pytest.mark.slow
def test_run_cancelled_in_prefect_leaves_no_process_and_is_not_tried_again(home: Path) -> None:
    from prefect.states import Cancelling

    running = until_cf(home)
    alive = Alive.model_validate_json((home / FILE).read_bytes())
    with connected(alive.address) as client:
        (under_way,) = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING"]}}})
        )
        client.set_flow_run_state(under_way.id, Cancelling())
    running.wait_for("schedule  Cancelled")
    assert holder(home) is None
    assert list((home / ".ilm/worktrees").iterdir()) == []
    looks_on(running)
    assert states(home) == ["Cancelled"]
    assert events(home) == [], "somebody wished it"
    assert running.stop() == 0
    assert processes(home) == []


@pytest.mark.slow
def test_of_runs_missed_while_nobody_followed_one_is_made_up_for(home: Path) -> None:
    schedule.want(home, cron="0 3 * * *")
    first = Running(home)
    wait_until(lambda: len(future_runs(home)) == 3)
    first.stop(signal.SIGKILL)
    wait_until(lambda: processes(home) == [])
    with closing(sqlite3.connect(home / HOME / "prefect.db")) as database:
        for column in ("expected_start_time", "next_scheduled_start_time"):
            database.execute(f"UPDATE flow_run SET {column} = strftime('%Y-%m-%d %H:%M:%f000', {column}, '-5 days')")
        then = "json_set(state_details, '$.scheduled_time', '2026-01-01T03:00:00Z')"
        database.execute(f"UPDATE flow_run_state SET state_details = {then}")
        database.execute("UPDATE flow_run SET idempotency_key = idempotency_key || ' of then'")
        database.commit()
    again = Running(home)
    again.wait_for("schedule  Refused: ")
    looks_on(again)
    assert sorted(states(home)) == ["Missed", "Missed", "Refused"]
    looked = status(home)
    assert looked.returncode == 0, looked.stdout
    assert looked.stdout.count("\nlast ") == 1
    assert again.stop() == 0


def future_runs(home: Path) -> list[object]:
    with closing(sqlite3.connect(home / HOME / "prefect.db")) as database:
        return database.execute("SELECT id FROM flow_run WHERE state_type = 'SCHEDULED'").fetchall()


@pytest.mark.slow
def test_same_files_are_retrained_once_and_new_ones_again(home: Path) -> None:
    schedule.want(home, on_arrival=True)
    running = Running(home)
    looks_on(running)
    assert states(home) == [], "nothing has come"
    drop(home, "monday.csv")
    running.wait_for("schedule  Refused: ")
    looks_on(running)
    assert states(home) == ["Refused"]
    drop(home, "tuesday.csv")
    running.wait_for("schedule  Too little: ")
    looks_on(running)
    assert states(home) == ["Refused", "Too little"]
    running.stop(signal.SIGKILL)
    again = Running(home)
    looks_on(again)
    assert states(home) == ["Refused", "Too little"], "a restart forgets nothing"
    assert again.stop() == 0


@pytest.mark.slow
def test_schedule_is_paused_resumed_and_removed_while_it_is_followed(home: Path) -> None:
    schedule.want(home, cron="0 3 * * *")
    running = Running(home)
    wait_until(lambda: len(future_runs(home)) == 3)
    schedule.pause(home, True)
    wait_until(lambda: future_runs(home) == [])
    looked = status(home)
    assert (looked.returncode, "paused" in looked.stdout) == (0, True)
    schedule.pause(home, False)
    wait_until(lambda: len(future_runs(home)) == 3)
    assert status(home).returncode == 0
    schedule.remove(home)
    wait_until(lambda: polled(home) == "[]")
    looked = status(home)
    assert (looked.returncode, looked.stdout.startswith("schedule   none.")) == (0, True)
    assert running.stop() == 0


@pytest.mark.slow
def test_server_that_schedules_nothing_is_noticed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Prefect does beside SQLAlchemy 2.1, without any error that a user would see."""
    monkeypatch.setenv("PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED", "false")
    schedule.want(home, cron="0 3 * * *")
    running = Running(home)
    running.wait_for("schedule  works")
    looks_on(running)
    looked = status(home)
    assert looked.returncode == 1
    assert "problem    Prefect has no run in store for the schedule." in looked.stdout
    running.stop()


@pytest.mark.slow
def test_hanging_scheduler_is_noticed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DEPLOYMENT_LAST_POLLED_TIMEOUT_SECONDS", "LOOP_SECONDS"):  # a minute, by default
        monkeypatch.setenv(f"PREFECT_SERVER_SERVICES_FOREMAN_{name}", "10")
    schedule.want(home, cron="0 3 * * *")
    running = Running(home)
    wait_until(lambda: len(future_runs(home)) == 3)
    running.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: status(home).returncode == 1)
    assert "has not asked Prefect for work in the last minute" in status(home).stdout
    running.process.send_signal(signal.SIGCONT)
    wait_until(lambda: status(home).returncode == 0)
    assert running.stop() == 0


@pytest.mark.slow
def test_run_outlives_an_outage_of_a_server_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = home.parent / "elsewhere"
    shutil.copytree(home / HOME, elsewhere / HOME)
    server = Server(elsewhere, {})
    try:
        wait_until(server.keep_up, 180)
        monkeypatch.setenv("PREFECT_API_URL", server.address)
        running = until_cf(home)
        server.stop()
        running.wait_for("schedule  ConnectError: ")
        looked = status(home)
        assert looked.returncode == 1
        assert "does not answer" in looked.stdout
        wait_until(server.keep_up, 180)
        running.wait_for("schedule  works", times=2)
        (home.parent / "pause/cf").unlink()
        running.wait_for("schedule  Refused: ")
        assert states(elsewhere) == ["Refused"]
        assert running.stop() == 0
    finally:
        server.stop()


@pytest.mark.slow
def test_flow_whose_code_is_broken_is_told_and_does_not_end_the_scheduler(home: Path) -> None:
    (home.parent / "fakes/sitecustomize.py").write_text("import sys\nsys.modules['flows.retrain_flow'] = None\n")
    schedule.want(home, on_arrival=True)
    drop(home)
    running = Running(home)
    running.wait_for("schedule  the process of the retrain ended with exit code 1", times=2)
    wait_until(lambda: events(home) == ["failed", "failed"])
    looks_on(running)
    assert states(home) == ["Crashed", "Crashed"]
    assert running.stop() == 0
