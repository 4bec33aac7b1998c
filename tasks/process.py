"""The operating system's side of a step: it dies with the `dvc` that started it, and knows who that was.

A killed `dvc` frees its lock at once. Were its step to live on, a second step could write the same files beside it.
"""

import ctypes
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import psutil

from ilm.errors import IlmError

PR_SET_PDEATHSIG = 1

_RSS_PER_MIB = 1024**2 if sys.platform == "darwin" else 1024

_libc = ctypes.CDLL(None)  # loaded before any fork: between fork and exec nothing may be imported


def end_with(parent: int) -> None:
    """For `Popen(preexec_fn=partial(end_with, os.getpid()))`: the child is killed when who started it ends (Linux).

    More exactly, when that thread ends. The child's own children are not meant; a step calls `die_with_parent`.
    It can be interrupted, even where this process cannot (a shell's background job ignores SIGINT).
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the kernel was told
            os.kill(os.getpid(), signal.SIGKILL)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, and end it now if the parent is gone (Linux).

    `dvc` starts a step through a shell. Most shells replace themselves with the step; where one stays in between,
    a thread waits for the end of `dvc`.

    Raises:
        IlmError: the `dvc` that started this process has ended already.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    pipeline = dvc_process()
    if os.getppid() != parent or (pipeline is None and "DVC_STAGE" in os.environ):
        raise IlmError("the `dvc` that started this step has ended. Run `ilm train` or `dvc repro` again.")
    if pipeline is not None and pipeline.pid != parent:
        ended = os.pidfd_open(pipeline.pid)
        threading.Thread(target=_die_after, args=(ended,), daemon=True).start()


def _die_after(pidfd: int) -> None:
    import select

    select.select([pidfd], [], [])  # readable once the process has ended
    os.kill(os.getpid(), signal.SIGKILL)


def dvc_process() -> psutil.Process | None:
    """The nearest `dvc` above this process, if any."""
    for ancestor in psutil.Process().parents():
        try:
            start = ancestor.cmdline()[:5]  # dvc repro | python …/bin/dvc repro | python -X … -m dvc repro
        except psutil.Error:
            continue
        if any(Path(word).name == "dvc" for word in start):
            return ancestor
    return None


def machine() -> str:
    """This boot and this container: where a process id, a start time and the monotonic clock have a meaning."""
    if sys.platform != "linux":
        return f"{psutil.boot_time():.0f}.0"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    return f"{boot[:8]}.{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116  of the process ids, not of a file


def identity(process: psutil.Process) -> str:
    """Host, machine, process id and start time: names one process for ever, as a process id alone does not.

    Raises:
        psutil.NoSuchProcess: it is gone.
    """
    return f"{socket.gethostname()}@{machine()}/{process.pid}/{_started(process):.2f}"


def has_ended(process: str) -> bool:
    """True if the process of that `identity` ran on this machine and is gone; a zombie is."""
    host, _, rest = process.partition("/")
    name, _, place = host.partition("@")
    if name != socket.gethostname() or not rest:
        return False
    boot, _, processes = place.partition(".")
    this_boot, _, these_processes = machine().partition(".")
    if boot != this_boot:
        return True  # the machine was started anew
    return processes == these_processes and not _runs(process, int(rest.partition("/")[0]))


def runs_here(process: str) -> bool:
    """True if the process of that `identity` runs now, on this machine."""
    host, _, rest = process.partition("/")
    return bool(rest) and host == f"{socket.gethostname()}@{machine()}" and _runs(process, int(rest.partition("/")[0]))


def _runs(process: str, pid: int) -> bool:
    try:
        found = psutil.Process(pid)
        return identity(found) == process and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _started(process: psutil.Process) -> float:
    """Seconds from boot to the start; a time of day would change when the clock is set."""
    if sys.platform != "linux":
        return float(process.create_time())
    try:
        line = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(process.pid) from None
    return int(line.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


def children_peak_memory_mb() -> float:
    """Largest resident memory of any one process that this one, or its children, started and saw end; in MiB."""
    import resource

    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / _RSS_PER_MIB


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would also count the memory of the process that started this one
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _RSS_PER_MIB
