"""A scheduled project for tests: true scheduler and Prefect server, and retrains whose steps do next to nothing."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from flows import schedule
from flows.scheduler_server import HOME
from tests.conftest import put_store
from tests.fake_project import ROOT, git, run, wait_until
from tests.fake_retrain import GATE, make_retrain_project

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


def make_scheduled_project(
    folder: Path, empty_store: Path, empty_prefect: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A project that was never trained, as `folder`/home. What runs in it bears its PAUSE in the environment."""
    home = make_retrain_project(folder / "home")
    settings = (home / "params.yaml").read_text()
    (home / "params.yaml").write_text(settings.replace("data:\n", "data:\n  settle_seconds: 0\n"))
    git(home, "commit", "--quiet", "--all", "--message", "settings")
    (home / "data/logs").mkdir()
    put_store(empty_store, home)
    (home / HOME).mkdir(parents=True)
    shutil.copyfile(empty_prefect, home / HOME / "prefect.db")
    (folder / "pause").mkdir()
    (folder / "fakes").mkdir()
    (folder / "fakes/sitecustomize.py").write_text(STEPS_OF_THE_TEST)
    monkeypatch.setenv("PYTHONPATH", f"{folder / 'fakes'}{os.pathsep}{ROOT}")
    monkeypatch.setenv("PAUSE", str(folder / "pause"))
    monkeypatch.setenv("GATE_SAYS", "refuse")
    monkeypatch.setenv("ILM_ALERT_COMMAND", ALERT)
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "ILM_ALERT_URL"):
        monkeypatch.delenv(name, raising=False)
    return home


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


def future_runs(home: Path) -> list[object]:
    with closing(sqlite3.connect(home / HOME / "prefect.db")) as database:
        return database.execute("SELECT id FROM flow_run WHERE state_type = 'SCHEDULED'").fetchall()
