"""`ilm schedule --run`: follows a project's schedule, and keeps a Prefect server up to do so.

Prefect says when, and shows what was; this loop is its worker, for one project. Whatever ends it takes server, run and
steps along (Linux).
"""

import fcntl
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from pydantic import BaseModel, ConfigDict

from flows import alerts
from flows.lease import STATE
from flows.schedule import load
from flows.scheduler_prefect import connected
from flows.scheduler_runs import Runs
from flows.scheduler_server import HOME, Server
from ilm.errors import IlmError
from ilm.files import write_text
from tasks.environment import use_project
from tasks.process import identity

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

FILE, LOCK = STATE / "scheduler.json", STATE / "scheduler.lock"
LOOK_SECONDS = 2.0
"""Between two looks at what is due."""


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
    """The server, the runs, and what was said, from look to look."""

    def __init__(self, home: Path, server: Server) -> None:
        self._home, self._server, self._runs = home, server, Runs(home)
        self._connection = ExitStack()
        self._client: tuple[str, SyncPrefectClient | None] = ("", None)
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
            if not self._server.keep_up():
                trouble = "the Prefect server does not answer yet"
            elif (schedule := load(self._home)) is not None:
                self._runs.look(self._connect(), schedule)
        except IlmError as error:
            trouble = str(error)
        except Exception as error:
            self._disconnect()
            trouble = f"{type(error).__name__}: {error}"
            if trouble != self._alive.trouble and not _is_outage(error):
                traceback.print_exc()
        self._say(trouble)

    def close(self) -> None:
        """End the run that is under way, and the server."""
        try:
            self._runs.stop(self._server.address, load(self._home))
        except Exception as error:  # the next start finds the run dead
            print(f"warning: schedule: {type(error).__name__}: {error}", flush=True)
        finally:
            self._disconnect()
            self._server.stop()
            (self._home / FILE).unlink(missing_ok=True)

    def _connect(self) -> "SyncPrefectClient":
        """A client, which is kept: to make one costs more than all that is asked with it."""
        address, client = self._client
        if client is None or address != self._server.address:
            self._disconnect()
            client = self._connection.enter_context(connected(self._server.address))
            self._client = (self._server.address, client)
        return client

    def _disconnect(self) -> None:
        self._connection.close()
        self._client = ("", None)

    def _say(self, trouble: str) -> None:
        """Print what has changed, and write it to scheduler.json."""
        now = self._alive.model_copy(update={"trouble": trouble, "address": self._server.address})
        if now == self._alive:
            return
        if now.address != self._alive.address:
            print(f"schedule  Prefect server: {now.address}", flush=True)
        if trouble != self._alive.trouble:
            print(f"schedule  {trouble or 'works'}", flush=True)
        try:
            write_text(self._home / FILE, now.model_dump_json(indent=2) + "\n")
            self._alive = now
        except OSError as error:  # tried again at the next look
            print(f"schedule  {self._home / FILE} cannot be written ({error.strerror}). Make room.", flush=True)


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
