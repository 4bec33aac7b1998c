"""DVC's command line as a flow runs it: `python -m flows.dvc_child dvc repro --single-item cf`.

Silent on stdout, since DVC's --quiet would hide its errors too; and a killed run's lock is no obstacle. DVC takes the
lock of a process that has ended, but in a container whose first process reaps no children it still sees one.
"""

import os
import sys
from pathlib import Path

import psutil


def is_alive(pid: int) -> bool:
    """True if a process of that id exists and has not ended: a zombie holds no lock."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    psutil.pid_exists = is_alive  # what dvc.rwlock asks
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  for as long as the process lives
    from dvc.cli import main

    sys.exit(main(sys.argv[2:]))
