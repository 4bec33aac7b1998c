"""The frame around every step: settings in, an MLflow run with lineage beside it, cost out, mistakes as messages."""

import errno
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ilm.errors import IlmError
from ilm.files import write_json
from ilm.params import Params, load_params
from tasks.lineage import dvc_md5, origin, read_stage
from tasks.paths import COST
from tasks.process import children_peak_memory_mb, die_with_parent, peak_memory_mb
from tasks.tracking import Run, Store

DISK = {errno.ENOSPC: "Make room", errno.EDQUOT: "Make room", errno.EROFS: "Make it writable"}
"""What to do about a disk that takes nothing more."""


class Step:
    """What a step's `run` function is given."""

    def __init__(self, params: Params, run: Run) -> None:
        self.params = params
        self._run = run
        self._started = time.monotonic()

    def log_metrics(self, values: dict[str, float], at: int | None = None) -> None:
        """Log values to the step's MLflow run, `at` a training step. Names may not contain '@' (hr_at_10)."""
        self._run.log_metrics(values, at)

    def elapsed(self) -> float:
        """Seconds since the step's work began."""
        return time.monotonic() - self._started


def main(name: str, run: Callable[[Step], None]) -> None:
    """Run one step as a process: `python -m tasks.<name>`, in the project's root folder. Exit code 2 on `IlmError`."""
    try:
        die_with_parent()
        run_step(name, run)
    except IlmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        remedy = next((remedy for number, remedy in DISK.items() if _is_system_error(error, number)), None)
        if remedy is None:
            raise
        print(f"error: step {name}: {error}. {remedy}, and run the step again.", file=sys.stderr)
        sys.exit(2)


def _is_system_error(error: Exception, number: int) -> bool:
    """Whether this is what the system said; polars keeps the number in the text only."""
    return getattr(error, "errno", None) == number or f"(os error {number})" in str(error)


def run_step(name: str, run: Callable[[Step], None], graph: Path = Path("dvc.yaml")) -> None:
    """Run one step in this process, in the current folder, as `graph` describes it.

    Raises:
        IlmError: settings, inputs, outputs or the tracking store are wrong, or `run` says so.
    """
    params = load_params()
    stage = read_stage(name, params, graph)
    inputs = {f"input.{path}": dvc_md5(path) for path in stage.inputs}
    store = Store.open(Path.cwd())
    print(f"{name}  started", flush=True)
    with store.run(name, origin(Path.cwd()), inputs, stage.settings) as child:
        step = Step(params, child)
        run(step)
        seconds, memory = step.elapsed(), max(peak_memory_mb(), children_peak_memory_mb())
        step.log_metrics({"seconds": seconds, "peak_memory_mb": memory})
        child.set_tags({f"output.{path}": dvc_md5(path) for path in stage.outputs})
    cost = {
        "seconds": round(seconds, 2),
        "peak_memory_mb": round(memory, 1),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "mlflow_run_id": child.run_id,
    }
    write_json(COST / f"{name}.json", cost)  # last: without it DVC does not count the step as done
    print(f"{name}  done in {seconds:.1f} s, {memory:,.0f} MB", flush=True)
