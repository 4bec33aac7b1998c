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
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
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


def identity(process: psutil.Process) -> str:
    """Host, process id and start time: names one process for ever, as a process id alone does not."""
    return f"{socket.gethostname()}/{process.pid}/{process.create_time():.2f}"


def has_ended(process: str) -> bool:
    """True if the process of that `identity` ran on this machine and is gone."""
    host, _, rest = process.partition("/")
    if host != socket.gethostname():
        return False
    pid = rest.partition("/")[0]
    try:
        return identity(psutil.Process(int(pid))) != process
    except psutil.NoSuchProcess:
        return True


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would also count the memory of the process that started this one
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)
