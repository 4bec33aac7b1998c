"""`ilm schedule --run`: keeps a Prefect server up, and starts each run that is due as a process of its own.

Prefect says when, and shows what was; this loop is its worker, for one project. Whatever ends it takes server, run and
steps along (Linux), so what Prefect believes to be under way when it starts is dead, and is made up for once.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import psutil
from pydantic import BaseModel, ConfigDict

from flows import alerts
from flows import schedule_arrivals as arrivals
from flows import scheduler_prefect as prefect_side
from flows.lease import STATE, holder
from flows.schedule import Schedule, load
from flows.scheduler_server import HOME, Server
from ilm.errors import IlmError
from ilm.files import write_text
from tasks.environment import use_project
from tasks.process import end_with, identity

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import FlowRunResponse

FILE, LOCK = STATE / "scheduler.json", STATE / "scheduler.lock"
LOOK_SECONDS = 2.0
"""Between two looks at what is due."""
GRACE_SECONDS = 45.0
"""Between asking a run to end and killing it. Its step has a grace of its own, and the worktree must be removed."""


class Alive(BaseModel):
    """What scheduler.json says of the scheduler that wrote it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    process: str
    address: str
    """Of the Prefect server."""
    since: float
    alerts: list[str]
    """Variables by which this process knows of alert hooks."""
    trouble: str
    """What keeps it from working just now; empty if nothing does."""


@dataclass
class Retraining:
    """A run that is under way."""

    run_id: UUID
    tags: list[str]
    seen_before: str
    """Listing of the log files that the run before it saw."""
    process: "subprocess.Popen[bytes]"
    asked: float | None = field(default=None)
    """When it was asked to end (monotonic clock)."""

    def end(self) -> None:
        """Ask it to end; if it was asked long ago, kill it."""
        if self.asked is None:
            self.process.terminate()
            self.asked = time.monotonic()
        elif time.monotonic() - self.asked > GRACE_SECONDS:
            self.process.kill()


def run(home: Path) -> None:
    """Follow the schedule until SIGTERM or SIGINT; a run that is under way then is made up for at the next start.

    Raises:
        IlmError: another scheduler of this project is alive.
    """
    home = home.resolve()
    server = Server(home, os.environ)
    if server.is_own:
        os.environ["PREFECT_HOME"] = str(home / HOME)
    os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"  # before prefect is imported: it reads them then
    use_project(home)
    with _alone(home), _stopped_by_signals() as stop:
        scheduler = Scheduler(home, server)
        try:
            while not stop.is_set():
                scheduler.look()
                stop.wait(LOOK_SECONDS)
        finally:
            scheduler.close()


class Scheduler:
    """The state between two looks: the run that is under way, and what was said."""

    def __init__(self, home: Path, server: Server) -> None:
        self._home, self._server = home, server
        self._retraining: Retraining | None = None
        self._arrivals = arrivals.Arrivals(home)
        self._alive = Alive(
            process=identity(psutil.Process()),
            address="",
            since=time.time(),
            alerts=alerts.hooks(),
            trouble="it starts",
        )

    def look(self) -> None:
        """Do what is to be done now. Nothing that goes wrong ends the scheduler; `ilm schedule --status` says it."""
        trouble = ""
        try:
            if self._server.keep_up():
                with prefect_side.connected(self._server.address) as client:
                    self._follow(client)
            else:
                trouble = "the Prefect server does not answer yet"
        except IlmError as error:
            trouble = str(error)
        except Exception as error:
            trouble = f"{type(error).__name__}: {error}"
            if trouble != self._alive.trouble and not _is_outage(error):
                traceback.print_exc()
        self._say(trouble)

    def close(self) -> None:
        """End the run that is under way, and the server."""
        try:
            if self._retraining is not None:
                print("schedule  ends the retrain that is under way; the next start makes up for it", flush=True)
                self._end_retraining(self._retraining)
        except Exception as error:  # the next start finds the run dead
            print(f"warning: schedule: {type(error).__name__}: {error}", flush=True)
        finally:
            self._server.stop()
            (self._home / FILE).unlink(missing_ok=True)

    def _follow(self, client: "SyncPrefectClient") -> None:
        schedule = load(self._home)
        if schedule is None:
            return
        deployment_id = prefect_side.follow(client, self._home, schedule)
        if self._retraining is not None:
            self._attend(client, self._retraining, deployment_id, schedule)
        if deployment_id is None:
            return
        due = prefect_side.due(client, deployment_id)
        if self._retraining is not None:
            return
        if self._bury(client, deployment_id, schedule):
            due = prefect_side.due(client, deployment_id)
        if not due and self._files_have_come(schedule):
            prefect_side.order(client, deployment_id)
            due = prefect_side.due(client, deployment_id)
        for missed in due[:-1]:
            prefect_side.miss(client, missed)
        if due and prefect_side.claim(client, due[-1].id):
            self._retraining = self._start(due[-1])

    def _files_have_come(self, schedule: Schedule) -> bool:
        return schedule.on_arrival and not schedule.paused and holder(self._home) is None and self._arrivals.are_due()

    def _start(self, run: "FlowRunResponse") -> Retraining:
        seen_before = arrivals.seen(self._home)
        arrivals.mark_seen(self._home, arrivals.listing(self._home))
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect.engine", str(run.id)],
            cwd=self._home,
            env=os.environ | {"PREFECT_API_URL": self._server.address, "PREFECT_LOGGING_LEVEL": "INFO"},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the scheduler, which sees to it that the run ends in order
            preexec_fn=partial(end_with, os.getpid()),
        )
        return Retraining(run.id, list(run.tags), seen_before, process)

    def _attend(
        self, client: "SyncPrefectClient", run: Retraining, deployment_id: UUID | None, schedule: Schedule
    ) -> None:
        """See whether a run has ended, or is to end."""
        now = prefect_side.state(client, run.run_id)
        if run.process.poll() is None:
            if now is None or now.type in ("CANCELLING", "CANCELLED"):
                run.end()
            return
        said = f"{now.name}: {now.message}" if now else "the run was deleted"
        if now is None or run.asked is not None or now.type in ("CANCELLING", "CANCELLED"):
            said = "Cancelled"
            if now is not None:
                prefect_side.cancelled(client, run.run_id)
        elif now.type not in ("COMPLETED", "FAILED"):
            said = f"the process of the retrain ended with exit code {run.process.returncode}"
            self._cut_short(client, run.run_id, run.tags, said, deployment_id, schedule)
        elif now.name == "Skipped":
            arrivals.mark_seen(self._home, run.seen_before)
        self._retraining = None
        print(f"schedule  {said}", flush=True)

    def _bury(self, client: "SyncPrefectClient", deployment_id: UUID, schedule: Schedule) -> int:
        """Say of runs that count as under way, though there is no process of ours, that they are dead."""
        dead = prefect_side.left_behind(client, deployment_id)
        for run in dead:
            if run.state is not None and run.state.type == "CANCELLING":
                prefect_side.cancelled(client, run.id)
                continue
            said = "the scheduler of a retrain was killed, and the retrain with it"
            print(f"schedule  {said}", flush=True)
            self._cut_short(client, run.id, run.tags, said, deployment_id, schedule)
        return len(dead)

    def _cut_short(
        self,
        client: "SyncPrefectClient",
        run_id: UUID,
        tags: list[str],
        said: str,
        deployment_id: UUID | None,
        schedule: Schedule,
    ) -> None:
        prefect_side.crashed(client, run_id, said)
        once_more = deployment_id is not None and not schedule.paused and prefect_side.CATCH_UP not in tags
        if once_more and deployment_id is not None:
            prefect_side.order(client, deployment_id, prefect_side.CATCH_UP)
        then = "It is tried once more." if once_more else "It is not tried again before its time."
        alerts.send(self._home, "failed", reasons=[f"{said}.", then])

    def _end_retraining(self, run: Retraining) -> None:
        while run.process.poll() is None:
            run.end()
            time.sleep(0.1)
        schedule = load(self._home)
        with prefect_side.connected(self._server.address) as client:
            now = prefect_side.state(client, run.run_id)
            if now is None or now.type in ("COMPLETED", "FAILED", "CANCELLING", "CANCELLED") or schedule is None:
                return
            prefect_side.crashed(client, run.run_id, "It was ended together with its scheduler.")
            found = prefect_side.deployment(client, schedule)
            if found is not None:
                prefect_side.order(client, found.id, prefect_side.CATCH_UP)

    def _say(self, trouble: str) -> None:
        """Print what has changed, and write it to scheduler.json."""
        now = self._alive.model_copy(update={"trouble": trouble, "address": self._server.address})
        if now == self._alive:
            return
        if now.address != self._alive.address:
            print(f"schedule  Prefect server: {now.address}", flush=True)
        if trouble != self._alive.trouble:
            print(f"schedule  {trouble or 'works'}", flush=True)
        self._alive = now
        write_text(self._home / FILE, now.model_dump_json(indent=2) + "\n")


def _is_outage(error: Exception) -> bool:
    import httpx

    return isinstance(error, (httpx.HTTPError, OSError))


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    (home / STATE).mkdir(exist_ok=True)
    with (home / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise IlmError(
                f"{home}: another `ilm schedule --run` of this project is alive. See `ilm schedule --status`."
            ) from None
        yield


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
