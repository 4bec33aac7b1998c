"""One retrain at a time: the lease in `.ilm/lease.json`, with an owner, a heartbeat and an expiry.

On the owner's machine the process itself is asked: a dead owner's lease falls at once, a frozen one's expires by the
clock that counts from boot, which nobody can set. Only on another machine the time of day decides.
"""

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from ilm.errors import ArtifactError, IlmError
from tasks.process import has_ended, identity, machine

STATE = Path(".ilm")
"""The project's own state, next to what DVC and MLflow keep; unknown to git and DVC."""
FILE, LOCK = STATE / "lease.json", STATE / "lease.lock"
BEATS = 4
"""Heartbeats within the time in which a lease expires."""
POLL_SECONDS = 2.0


class LeaseHeld(IlmError):
    """Somebody else's retrain is under way."""


class LeaseLost(IlmError):
    """The lease is no longer ours: what is not yet written must not be written."""


@dataclass(frozen=True)
class Caller:
    """Who asks for a lease, and by which clocks. Tests give another."""

    process: str = field(default_factory=lambda: identity(psutil.Process()))
    machine: str = field(default_factory=machine)
    wall: Callable[[], float] = time.time
    """Time of day, seconds since 1970."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds, the same clock for all processes of a machine."""
    has_ended: Callable[[str], bool] = has_ended
    """Whether a process of this machine is gone."""


class Holder(BaseModel):
    """What lease.json says."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    token: str
    """Random: names this lease among all that this process may have had."""
    process: str
    machine: str
    command: str
    since: float
    """Time of day."""
    heartbeat: float
    """Time of day of the last sign of life."""
    beat: float
    """The same by the monotonic clock of `machine`."""
    seconds: float
    """Without a sign of life for so long, the lease has expired."""

    def is_over(self, caller: Caller) -> bool:
        """Whether the lease may be taken."""
        if self.machine == caller.machine:
            return caller.has_ended(self.process) or caller.monotonic() >= self.beat + self.seconds
        return caller.wall() >= self.heartbeat + self.seconds

    def __str__(self) -> str:
        host, _, rest = self.process.partition("/")
        return (
            f"`{self.command}`, process {rest.partition('/')[0]} on {host.partition('@')[0]}, since "
            f"{_time(self.since)}, last heard of at {_time(self.heartbeat)}; if it is heard of no more, it counts as "
            f"dead at {_time(self.heartbeat + self.seconds)}"
        )


class Lease:
    """A lease that was ours when it was made; `renew` says whether it still is."""

    def __init__(self, project: Path, holder: Holder, caller: Caller) -> None:
        self._project, self._holder, self._caller = project, holder, caller
        self.lost = False

    def renew(self) -> None:
        """Give a sign of life. To be called before every write that only one retrain may make.

        Raises:
            LeaseLost: it is somebody else's, or was taken away.
            OSError: it could not be written.
        """
        with _locked(self._project):
            self._require_ours()
            self._holder = _beaten(self._holder, self._caller)
            _write(self._project, self._holder)

    def release(self) -> None:
        """Give it up; without effect if it is no longer ours."""
        with _locked(self._project):
            held = _read(self._project)
            if held is not None and held.token == self._holder.token:
                (self._project / FILE).unlink()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew it in the background during the block, and release it after. A loss interrupts the main thread."""
        stop = threading.Event()
        thread = threading.Thread(target=self._beat, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.release()

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(self._holder.seconds / BEATS):
            try:
                self.renew()
            except LeaseLost:
                if callable(signal.getsignal(signal.SIGTERM)):  # it raises in the main thread; by default it would kill
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
                return
            except (OSError, ArtifactError):  # disk full or away: tried again; `renew` in the main thread will say it
                continue

    def _require_ours(self) -> None:
        held = _read(self._project)
        if held is None or held.token != self._holder.token:
            self.lost = True
            by = f"was taken over by {held}" if held else "was removed"
            raise LeaseLost(
                f"{self._project / FILE}: the lease of this run {by}. Nothing more is written; run `ilm retrain` again."
            )


def acquire(project: Path, command: str, seconds: float, caller: Caller | None = None) -> Lease:
    """Take the lease if it is free, or its holder is dead or silent for too long.

    Args:
        project: the lease is its `.ilm/lease.json`.
        command: what the holder does, for those who must wait.
        seconds: without a sign of life for so long, anybody may take the lease.
        caller: who asks; by default this process.

    Raises:
        LeaseHeld: somebody has it.
        ArtifactError: lease.json is damaged.
        IlmError: it cannot be written.
    """
    caller = caller or Caller()
    try:
        with _locked(project):
            held = _read(project)
            if held is not None and not held.is_over(caller):
                raise LeaseHeld(f"a retrain is under way: {held}. To wait for its end: `ilm retrain --wait MINUTES`.")
            now = caller.wall()
            holder = Holder(
                token=uuid4().hex, process=caller.process, machine=caller.machine, command=command,
                since=now, heartbeat=now, beat=caller.monotonic(), seconds=seconds,
            )  # fmt: skip
            _write(project, holder)
            return Lease(project, holder, caller)
    except OSError as error:
        raise IlmError(f"{project / FILE}: cannot be written ({error.strerror}). Make room, or give access.") from error


def wait_for(
    project: Path,
    command: str,
    seconds: float,
    wait_seconds: float,
    caller: Caller | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Lease:
    """As `acquire`, but try for `wait_seconds` before giving up."""
    caller = caller or Caller()
    end = caller.monotonic() + wait_seconds
    said = False
    while True:
        try:
            return acquire(project, command, seconds, caller)
        except LeaseHeld as held:
            left = end - caller.monotonic()
            if left <= 0:
                raise
            if not said:
                print(f"retrain  waiting: {held}", flush=True)
            said = True
            sleep(min(POLL_SECONDS, left))


def holder(project: Path, caller: Caller | None = None) -> Holder | None:
    """Who has the lease; None if nobody, or nobody who still counts.

    Raises:
        ArtifactError: lease.json is damaged.
    """
    held = _read(project)
    return None if held is None or held.is_over(caller or Caller()) else held


@contextmanager
def _locked(project: Path) -> Iterator[None]:
    """Between reading and writing nobody else may write; the kernel frees the lock of a killed process."""
    (project / STATE).mkdir(exist_ok=True)
    with (project / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(project: Path) -> Holder | None:
    try:
        return Holder.model_validate_json((project / FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ArtifactError(
            f"{project / FILE}: damaged ({error.errors()[0]['msg']}). If no retrain is under way, delete it."
        ) from None


def _write(project: Path, holder: Holder) -> None:
    """Whole or not at all, after a power cut too. Only under the lock, so the temporary name is nobody else's."""
    temporary = project / STATE / "lease.json.new"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(holder.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, project / FILE)


def _beaten(holder: Holder, caller: Caller) -> Holder:
    return holder.model_copy(update={"heartbeat": caller.wall(), "beat": caller.monotonic()})


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
