"""A schedule that really fires: scheduler and Prefect server on loopback. What kills them: test_schedule_faults."""

import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from flows import lease, schedule
from flows.scheduler_server import HOME
from tests.fake_project import run, wait_until
from tests.scheduled_project import (
    SECRET,
    Running,
    drop,
    events,
    future_runs,
    looks_on,
    polled,
    processes,
    states,
    status,
    the,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")


@pytest.fixture
def home(scheduled: Path) -> Path:
    return scheduled


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
