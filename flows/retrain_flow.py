"""The flow `retrain`, for a Prefect server to run and show: flows/retrain.py, one Prefect task per DVC stage.

Its final state says how the retrain ended; only what went wrong is a failure.
"""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.lease import LeaseHeld
from flows.retrain import TOO_LITTLE, Retrained
from flows.retrain import retrain as retrain_project
from flows.scheduler_runs import SKIPPED
from flows.train import step
from ilm.errors import IlmError

NAMES = {TOO_LITTLE: "Too little", "promote": "Promoted", "refuse": "Refused", "underpowered": "Underpowered"}
"""Outcome -> name of the state."""


@flow(name="retrain", flow_run_name="retrain", log_prints=True)
def retrain(project: Path, wait_minutes: float = 0.0) -> "State[Any]":
    """Retrain the last commit of `project` on the data as they are now; see `flows.retrain.retrain`."""
    try:
        done = retrain_project(project, wait_minutes, lambda name, tree: step.with_options(name=name)(name, tree))
    except LeaseHeld as held:
        return Completed(name=SKIPPED, message=str(held))
    except IlmError as error:  # which says all that a traceback would
        return Failed(message=str(error))
    return ended(done)


def ended(done: Retrained) -> "State[Any]":
    """The state that says how a retrain ended."""
    message = " ".join((f"{done.run}:", *done.reasons))
    if done.outcome in NAMES:
        return Completed(name=NAMES[done.outcome], message=message)
    return Failed(name="Gate failed", message=message)
