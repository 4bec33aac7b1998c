"""MLflow runs: one parent per pipeline execution, one child per step.

A step never touches its artifacts through this file: if the store fails, the step stops, but nothing is half-written.
Uses `MlflowClient` only; the fluent `mlflow.*` calls keep global state.
"""

import fcntl
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from ilm.errors import ArtifactError
from tasks.environment import use_project
from tasks.process import dvc_process, has_ended, identity

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

EXPERIMENT = "ilm"
FLUSH_EVERY = 500
"""Metrics sent together; MLflow takes at most 1,000."""
FLUSH_SECONDS = 10.0


class Store:
    """An open tracking store and its experiment."""

    def __init__(self, client: "MlflowClient", experiment_id: str) -> None:
        self.client = client
        self.experiment_id = experiment_id

    @classmethod
    def open(cls, project: Path) -> "Store":
        """Open the store that MLFLOW_TRACKING_URI names; by default <project>/mlflow.db, made on first use.

        Raises:
            ArtifactError: it cannot be opened.
        """
        use_project(project)
        address = os.environ["MLFLOW_TRACKING_URI"]
        try:
            from mlflow import MlflowClient

            if address.startswith("sqlite:///"):
                _make_database(Path(address.removeprefix("sqlite:///")), project)
            client = MlflowClient(address)
            return cls(client, _experiment(client, project))
        except Exception as error:  # whatever the reason: say it before any work is done
            raise ArtifactError(
                f"MLflow's tracking store {address} cannot be opened ({_one_line(error)}). Start its server, or unset "
                f"MLFLOW_TRACKING_URI to use {project / 'mlflow.db'}; a damaged mlflow.db must be moved away."
            ) from error

    def mark_killed(self) -> None:
        """Give runs whose process is gone without a word (kill -9, power cut) the status that they deserve."""
        running = self.client.search_runs([self.experiment_id], "attributes.status = 'RUNNING'")
        for run in running:
            process = run.data.tags.get("ilm.process")
            if process and has_ended(process):
                self.client.set_terminated(run.info.run_id, "KILLED")

    def parent_run(self, tags: dict[str, str]) -> str:
        """Id of this pipeline execution's run, made if this is its first step."""
        execution = execution_id()
        query = f"tags.`ilm.execution` = '{execution}' and tags.`ilm.step` = 'pipeline'"
        found = self.client.search_runs([self.experiment_id], query, max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = tags | {"ilm.execution": execution, "ilm.step": "pipeline"}
        name = time.strftime("pipeline %Y-%m-%d %H:%M:%S")
        return str(self.client.create_run(self.experiment_id, tags=tags, run_name=name).info.run_id)

    @contextmanager
    def run(self, name: str, origin: dict[str, str], inputs: dict[str, str], params: dict[str, str]) -> Iterator["Run"]:
        """A child run for the time of the block. Its status, and the parent's, say how the block ended.

        Args:
            name: of the step.
            origin: tags of the parent run and of this one.
            inputs: tags of this run alone.
            params: settings of this run.

        Raises:
            ArtifactError: what was measured could not be stored.
        """
        from mlflow.entities import Param

        process = identity(psutil.Process())
        with _stored(name):
            self.mark_killed()
            parent = self.parent_run(origin)
            self.client.set_tag(parent, "ilm.process", process)
            self.client.update_run(parent, status="RUNNING")
            tags = origin | inputs | {"mlflow.parentRunId": parent, "ilm.step": name, "ilm.process": process}
            child = str(self.client.create_run(self.experiment_id, tags=tags, run_name=name).info.run_id)
            self.client.log_batch(child, params=[Param(key, value) for key, value in params.items()])
        run = Run(self.client, child, name)
        try:
            yield run
            run.flush()
        except BaseException as error:
            with _reported(name):
                run.send()
                self._end(child, parent, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        with _stored(name):
            self._end(child, parent, "FINISHED")

    def _end(self, child: str, parent: str, status: str) -> None:
        self.client.set_terminated(child, status)
        self.client.set_terminated(parent, status)


class Run:
    """The child run of one step."""

    def __init__(self, client: "MlflowClient", run_id: str, name: str) -> None:
        self.run_id = run_id
        self._client = client
        self._name = name
        self._waiting: list[Metric] = []
        self._unsent, self._tried_at = 0, time.monotonic()

    def log_metrics(self, values: dict[str, float], at: int | None = None) -> None:
        """Note values at a training step; they are sent in batches. A store that fails is tried again later."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._waiting += [Metric(name, float(value), now, at or 0) for name, value in values.items()]
        self._unsent += len(values)
        if self._unsent >= FLUSH_EVERY or time.monotonic() - self._tried_at > FLUSH_SECONDS:
            with _reported(self._name):
                self.send()
            self._unsent, self._tried_at = 0, time.monotonic()  # also after a failure: not again at every step

    def set_tags(self, tags: dict[str, str]) -> None:
        """Add tags to the run.

        Raises:
            ArtifactError: the store failed.
        """
        from mlflow.entities import RunTag

        with _stored(self._name):
            self._client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def log_folder(self, folder: Path) -> None:
        """Store a folder's files as artifacts of the run.

        Raises:
            ArtifactError: the store failed.
        """
        with _stored(self._name):
            self._client.log_artifacts(self.run_id, str(folder))

    def flush(self) -> None:
        """Send all that waits.

        Raises:
            ArtifactError: the store failed.
        """
        with _stored(self._name):
            self.send()

    def send(self) -> None:
        """Send all that waits; a failing store raises MlflowException, and what was not sent still waits."""
        while self._waiting:
            self._client.log_batch(self.run_id, metrics=self._waiting[:FLUSH_EVERY])
            del self._waiting[:FLUSH_EVERY]


def execution_id() -> str:
    """What the steps of one pipeline execution have in common: ILM_EXECUTION (set by the flow), or the `dvc` above."""
    return os.environ.get("ILM_EXECUTION") or identity(dvc_process() or psutil.Process())


def _experiment(client: "MlflowClient", project: Path) -> str:
    """The experiment's id; made with artifacts inside the project, unless a server decides where they lie."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    remote = os.environ["MLFLOW_TRACKING_URI"].startswith(("http", "databricks"))
    location = None if remote else (project.resolve() / "mlartifacts").as_uri()
    return str(client.create_experiment(EXPERIMENT, artifact_location=location))


def _make_database(path: Path, project: Path) -> None:
    """Make mlflow.db under another name, then rename: neither a kill nor a second process can leave half of one."""
    if path.exists():
        return
    import logging

    from mlflow import MlflowClient

    for chatty in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            _experiment(MlflowClient(f"sqlite:///{folder}/new.db"), project)
            os.replace(f"{folder}/new.db", path)


@contextmanager
def _stored(name: str) -> Iterator[None]:
    """Turn a failing store into a message."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise ArtifactError(
            f"{name}: MLflow could not store the run ({_one_line(error)}). Mend it, run again."
        ) from error


@contextmanager
def _reported(name: str) -> Iterator[None]:
    """Report a failing store and go on: something more important is under way."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        print(f"warning: {name}: MLflow could not store metrics or status ({_one_line(error)}).", file=sys.stderr)


def _one_line(error: Exception) -> str:
    text = said_by(error)
    return f"{type(error).__name__}: {text[:300]}"


def said_by(error: Exception) -> str:
    """What an error says, on one line; names and passwords in addresses are left out."""
    return re.sub(r"(\w://)[^/@\s]+@", r"\1…@", " ".join(str(error).split()))
