"""The flow `retrain`, for a Prefect server to run and show: flows/retrain.py, one Prefect task per DVC stage."""

from pathlib import Path

from prefect import flow

from flows.retrain import Retrained
from flows.retrain import retrain as retrain_project
from flows.train import step


@flow(name="retrain", flow_run_name="retrain")
def retrain(project: Path, wait_minutes: float = 0.0) -> Retrained:
    """Retrain the last commit of `project` on the data as they are now; see `flows.retrain.retrain`."""
    return retrain_project(project, wait_minutes, lambda name, tree: step.with_options(name=name)(name, tree))
