"""One retrain: lease, worktree, fresh data, the stages, register, gate, promote or not, clean up.

Plain functions: `ilm retrain` needs no server. flows/retrain_flow.py is the same as a Prefect flow, one task per stage.
Whatever stops it, the next call cleans up and goes on: finished stages are in DVC's cache, trainings have checkpoints.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

from flows import alerts, stages, worktree
from flows.lease import STATE, Lease, LeaseLost, wait_for
from flows.retrain_inputs import Generation, bring_in
from flows.retrain_previous import bring_previous
from flows.worktree import Worktree
from ilm.errors import IlmError
from ilm.files import read_json, write_json
from ilm.params import load_params
from tasks.environment import use_project
from tasks.paths import DRIFT, INTERACTIONS, QUARANTINE

RUNS = STATE / "runs"
"""A folder per run: run.json, and the gate's record."""
DATA_STEPS = ("ingest", "validate")
"""After these it is known how much is new."""
TOO_LITTLE, FAILED = "too_little", "failed"


@dataclass(frozen=True)
class Retrained:
    """How a retrain ended."""

    run: str
    outcome: str
    """TOO_LITTLE fresh data; FAILED; or the gate's decision: promote, refuse, underpowered, error."""
    reasons: tuple[str, ...]
    new_interactions: int | None = None
    new_quarantined: int | None = None
    """Rows set aside by the rules, beyond those of the last run; as above, fewer if a file was taken away."""
    drift: dict[str, Any] | None = None
    """What step `cf` found (`ilm.cf.drift.Drift`)."""
    commit: str | None = None
    """Behind `refs/ilm/runs/<run>`: what was run, with the dvc.lock of what it made."""
    version: str | None = None
    """Registered model version."""
    champion: str | None = None
    """Version that serves now."""


@alerts.sent
def retrain(
    home: Path, wait_minutes: float = 0.0, run_step: Callable[[str, Path], object] = stages.run_stage
) -> Retrained:
    """Retrain the last commit of the project on the data as they are now; its files are not touched.

    Args:
        home: the project's root folder.
        wait_minutes: how long to wait for another retrain to end.
        run_step: brings one stage up to date, given its name and the project in the worktree.

    Raises:
        LeaseHeld: another retrain is under way, and did not end in time.
        LeaseLost: this process was frozen for so long that another took over.
        IlmError: a step failed, or something else is wrong that the user can mend.
    """
    home = home.resolve()
    use_project(home)
    seconds = load_params(home / "params.yaml").retrain.lease_seconds
    with _interrupted_by_sigterm():
        lease = wait_for(home, "ilm retrain", seconds, wait_minutes * 60)
        try:
            with lease.kept():
                for run in worktree.sweep(home):
                    print(f"retrain  removed the worktree of {run}, which was cut short", flush=True)
                return _run(home, lease, run_step)
        except BaseException as error:
            if lease.lost and not isinstance(error, LeaseLost):
                raise LeaseLost("this run lost its lease and has stopped. Run `ilm retrain` again.") from error
            if isinstance(error, OSError):
                raise IlmError(f"retrain: {error}. Make room on the disk, or give access; then run again.") from error
            raise


def new_run() -> str:
    """Name for a run: the time (UTC) for people, and what makes it unique."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid4().hex[:6]}"


def _run(home: Path, lease: Lease, run_step: Callable[[str, Path], object]) -> Retrained:
    run, started = new_run(), time.time()
    os.environ["ILM_EXECUTION"] = run  # the MLflow parent run of all its steps
    changed = worktree.changed_files(home)
    if changed:
        print(f"retrain  the last commit is run, without what has changed since in {', '.join(changed)}", flush=True)
    try:
        done = _chain(worktree.make(home, run), lease, run_step)
    except (IlmError, OSError) as error:
        with suppress(OSError):  # the disk may be full: what failed counts more
            _record(home, Retrained(run, FAILED, (str(error),)), started)
        raise
    finally:
        try:
            worktree.remove(home, run)
        except (OSError, IlmError) as error:
            print(f"warning: retrain: {error} The next run cleans up.", flush=True)
    _record(home, done, started)
    for reason in (f"{run}: {done.outcome}", *done.reasons):
        print(f"retrain  {reason}", flush=True)
    return done


def _record(home: Path, done: Retrained, started: float) -> None:
    write_json(
        home / RUNS / done.run / "run.json", asdict(done) | {"started": started, "seconds": time.time() - started}
    )


def _chain(tree: Worktree, lease: Lease, run_step: Callable[[str, Path], object]) -> Retrained:
    from flows import registry
    from flows.challenge import challenge
    from tasks.tracking import Store

    Store.open(tree.home)  # made here, its experiment keeps artifacts in the project; a step would say the worktree
    before = bring_in(tree)
    bring_previous(tree, before)
    data_steps = [name for name in stages.STEPS if name in DATA_STEPS]
    for name in data_steps:
        lease.renew()
        run_step(name, tree.project)
    new, quarantined = (new_rows(tree.project, before, table) for table in (INTERACTIONS, QUARANTINE))
    least = load_params(tree.project / "params.yaml").retrain.min_new_interactions
    if abs(new) < least:
        why = f"{new:,} interactions more than at the last run; retrain.min_new_interactions asks for {least:,}."
        return Retrained(tree.run, TOO_LITTLE, (why,), new, quarantined)
    for name in (name for name in stages.STEPS if name not in data_steps):
        lease.renew()
        run_step(name, tree.project)

    lease.renew()
    commit = tree.keep_lock(f"ilm retrain {tree.run}")
    version = registry.register(tree.project)
    lease.renew()
    outcome, reasons, champion = challenge(tree, version, commit, tree.home / RUNS / tree.run / "gate", lease.renew)
    if outcome != "error":  # else the next run must judge it again, though nothing is fresh then
        tree.make_latest(commit)
    drift = read_json(tree.project / DRIFT) if (tree.project / DRIFT).is_file() else None
    return Retrained(tree.run, outcome, reasons, new, quarantined, drift, commit, version, champion)


def new_rows(project: Path, before: Generation, table: Path) -> int:
    """How many rows a table has more than in the generation before; all, if that is not known; 0 if it is not there."""
    import pyarrow.parquet as pq

    now, earlier = (project / table if (project / table).is_file() else None), before.file(table)
    counts = [0 if path is None else int(pq.ParquetFile(path).metadata.num_rows) for path in (now, earlier)]
    return counts[0] - counts[1]


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Have SIGTERM unwind the stack, as Ctrl-C does, unless somebody else (Prefect) sees to it."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
