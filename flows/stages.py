"""The chain of steps, and one step as a child process: `dvc repro --single-item STAGE`. No Prefect in here."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ilm.errors import IlmError
from ilm.files import read_json
from tasks.paths import COST
from tasks.process import end_with

STEPS = ("ingest", "validate", "split", "cf", "pairs", "pretrain", "finetune", "evaluate", "report")
"""In an order in which nothing upstream is stale. The graph is dvc.yaml's; a test holds this chain against it."""

GRACE_SECONDS = 10.0
"""Between asking an interrupted step to stop and killing it."""


def run_stage(name: str, project: Path) -> bool:
    """Bring one stage up to date; its output and progress bars go to the terminal. True if it had to run.

    The child is a process group of its own, which ends with this function, and with this process.

    Raises:
        IlmError: the stage failed; it has said why.
    """
    cost_file = project / COST / f"{name}.json"
    before, started = _read(cost_file), datetime.now(UTC).replace(microsecond=0)
    child = subprocess.Popen(
        [sys.executable, "-m", "flows.dvc_child", "dvc", "repro", "--single-item", name],
        cwd=project,
        env=stage_environment(),
        start_new_session=True,
        preexec_fn=partial(end_with, os.getpid()),
    )
    try:
        code = child.wait()
    except BaseException:
        _stop(child)
        raise
    if code != 0:
        raise IlmError(f"step '{name}' failed; its message is above. Mend the cause, then run `ilm train` again.")
    # A file that DVC brought back from its cache has changed too, but tells of an earlier run.
    return _read(cost_file) != before and datetime.fromisoformat(read_json(cost_file)["finished_at"]) >= started


def stage_environment() -> dict[str, str]:
    """This process's environment, with the `python` of its own interpreter first in PATH: dvc.yaml says `python -m`."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def _read(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """Interrupt the group, so that the step can close its MLflow run and dvc its lock; then kill what is left."""
    for number in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(timeout=GRACE_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
