"""The flow `train`: ingest, validate, split, cf, pairs, pretrain, finetune, evaluate, report; then the registry.

One Prefect task per DVC stage: DVC decides whether there is work, Prefect when and whether the next step starts.
Registering and promoting are side effects, so they come after the stages and are none themselves.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import psutil
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flows import promotion, registry
from flows.ledger import person
from flows.stages import STEPS, run_stage
from tasks.process import has_ended, identity

OWNER = "ILM_FLOW_PROCESS"
"""Environment variable by which a temporary Prefect server tells whose it is."""


@dataclass(frozen=True)
class Trained:
    """What a run of the flow ended with."""

    version: str
    """Registered model version."""
    champion: str | None
    """Version that serves now; another one, or None, if `version` waits as challenger."""


@task(cache_policy=NO_CACHE)
def step(name: str, project: Path) -> None:
    """Bring one stage up to date."""
    if not run_stage(name, project):
        print(f"{name}  up to date", flush=True)


@task(cache_policy=NO_CACHE)
def register(project: Path) -> str:
    """Register the bundle that the stages made; the same bundle is registered once."""
    return registry.register(project)


@task(cache_policy=NO_CACHE)
def promote(project: Path, version: str, bootstrap: bool) -> str | None:
    """Make a first version champion if `bootstrap` says so; name a later one challenger. Gives the champion."""
    return promotion.promote_first(project, version, bootstrap, actor=f"ilm train, {person()}")


@flow(name="train", flow_run_name="train", validate_parameters=False)
def train(project: Path, bootstrap: bool = False) -> Trained:
    """The whole chain, in `project`. The same work as `dvc repro`, then the registry."""
    os.environ["ILM_EXECUTION"] = str(flow_run.id)  # the MLflow parent run of all steps bears the flow run's id
    for name in STEPS:
        step.with_options(name=name)(name, project)
    version = register(project)
    return Trained(version, promote(project, version, bootstrap))


def run(project: Path, bootstrap: bool) -> Trained:
    """Run the flow in this process, with a temporary Prefect server unless PREFECT_API_URL names one.

    Raises:
        IlmError: a step failed, or the registry refused.
    """
    _end_orphans()
    os.environ[OWNER] = identity(psutil.Process())
    print("train  starting Prefect", flush=True)  # which takes some seconds, the first time more
    return train(project, bootstrap)


def _end_orphans() -> None:
    """End temporary Prefect servers whose flow was killed (kill -9): they would wait for ever."""
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if "PREFECT__SERVER_EPHEMERAL" in environment and has_ended(environment.get(OWNER, "")):
                process.terminate()
        except psutil.Error:  # another user's, or gone
            continue
