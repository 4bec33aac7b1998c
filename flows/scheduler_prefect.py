"""What the scheduler asks of Prefect and tells it: deployment, due runs, how a run ended. One function per question."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from flows.schedule import Schedule, version

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.objects import FlowRun, State
    from prefect.client.schemas.responses import DeploymentResponse, FlowRunResponse

FLOW, ENTRYPOINT = "retrain", "flows.retrain_flow.retrain"
CATCH_UP = "catch-up"
"""Tag of a run that makes up for one that was cut short. It is not made up for itself."""
MISSED = "Missed"
"""Name of the state of a run that was due and not run."""


@contextmanager
def connected(address: str) -> "Iterator[SyncPrefectClient]":
    """A client of the server at this address. It asks once: its own patience would have SIGTERM wait for a minute."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    settings = {PREFECT_API_URL: address, PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        yield client


def follow(client: "SyncPrefectClient", home: Path, schedule: Schedule) -> UUID | None:
    """Make the deployment what the schedule says, unless it is. Gives its id; None if there is to be none."""
    found = deployment(client, schedule)
    if not schedule.is_wanted:
        if found is not None:
            client.delete_deployment(found.id)
        return None
    wanted_version = version(home, schedule)
    if found is not None and found.version == wanted_version:
        return found.id  # made anew, it would forget the runs that are due
    return client.create_deployment(
        flow_id=client.create_flow_from_name(FLOW),
        name=schedule.name,
        version=wanted_version,
        description=f"Retrains {home} by `ilm schedule`.",
        entrypoint=ENTRYPOINT,
        path=str(home),
        parameters={"project": str(home)},
        schedules=_schedules(schedule),
        paused=schedule.paused,
    )


def deployment(client: "SyncPrefectClient", schedule: Schedule) -> "DeploymentResponse | None":
    """The schedule's deployment, if the server knows it."""
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name(f"{FLOW}/{schedule.name}")
    except ObjectNotFound:
        return None


def due(client: "SyncPrefectClient", deployment_id: UUID) -> "list[FlowRunResponse]":
    """Runs whose time has come, oldest first. To ask also tells the server that somebody is there to run them."""
    runs = client.get_scheduled_flow_runs_for_deployments([deployment_id], scheduled_before=datetime.now(UTC))
    return sorted(runs, key=_expected)


def next_time(client: "SyncPrefectClient", deployment_id: UUID) -> datetime | None:
    """When the next run is due."""
    runs = _runs(client, deployment_id, ["SCHEDULED"], "EXPECTED_START_TIME_ASC", limit=1)
    return runs[0].expected_start_time if runs else None


def last(client: "SyncPrefectClient", deployment_id: UUID, limit: int) -> "list[FlowRun]":
    """Runs that have ended, the latest first; without those that never began because another one did their work."""
    runs = _runs(client, deployment_id, ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"], "END_TIME_DESC", limit=50)
    return [run for run in runs if run.state is not None and run.state.name != MISSED][:limit]


def miss(client: "SyncPrefectClient", run: "FlowRunResponse") -> None:
    """Say of a run that was due that another one does its work: a retrain takes all data that there are."""
    from prefect.states import Cancelled

    message = "Nothing ran it when it was due, or another retrain was under way. A later run makes up for it."
    client.set_flow_run_state(run.id, Cancelled(name=MISSED, message=message), force=True)


def claim(client: "SyncPrefectClient", run_id: UUID) -> bool:
    """Take a run that is due; False if it was cancelled, or is somebody else's.

    Its state says it, not the answer: one that was asked for twice is refused, though the first time it was given.
    """
    from prefect.states import Pending

    token = f"Claimed as {uuid4().hex[:12]}."
    client.set_flow_run_state(run_id, Pending(message=token))
    now = state(client, run_id)
    return now is not None and now.message == token


def state(client: "SyncPrefectClient", run_id: UUID) -> "State | None":
    """State of a run; None if somebody has deleted it."""
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_flow_run(run_id).state
    except ObjectNotFound:
        return None


def left_behind(client: "SyncPrefectClient", deployment_id: UUID) -> "list[FlowRun]":
    """Runs that count as under way."""
    return _runs(client, deployment_id, ["PENDING", "RUNNING", "CANCELLING"], "EXPECTED_START_TIME_ASC", limit=50)


def order(client: "SyncPrefectClient", deployment_id: UUID, *tags: str) -> None:
    """Have a run due now."""
    client.create_flow_run_from_deployment(deployment_id, tags=tags)


def cancelled(client: "SyncPrefectClient", run_id: UUID) -> None:
    """Say of a run that it has ended as somebody wished."""
    from prefect.states import Cancelled

    client.set_flow_run_state(run_id, Cancelled(message="Cancelled; no process is left."), force=True)


def crashed(client: "SyncPrefectClient", run_id: UUID, why: str) -> None:
    """Say of a run that its process is gone."""
    from prefect.states import Crashed

    client.set_flow_run_state(run_id, Crashed(message=why), force=True)


def _runs(client: "SyncPrefectClient", deployment_id: UUID, types: list[str], sort: str, limit: int) -> "list[FlowRun]":
    from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
    from prefect.client.schemas.sorting import FlowRunSort

    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": types}}}),
        deployment_filter=DeploymentFilter.model_validate({"id": {"any_": [deployment_id]}}),
        sort=FlowRunSort(sort),
        limit=limit,
    )


def _schedules(schedule: Schedule) -> "list[DeploymentScheduleCreate]":
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

    if schedule.cron:
        return [DeploymentScheduleCreate(schedule=CronSchedule(cron=schedule.cron, timezone=schedule.timezone))]
    if schedule.every_seconds:
        interval = timedelta(seconds=schedule.every_seconds)
        since = datetime.fromtimestamp(schedule.since, UTC)
        return [DeploymentScheduleCreate(schedule=IntervalSchedule(interval=interval, anchor_date=since))]
    return []


def _expected(run: "FlowRunResponse") -> datetime:
    return run.expected_start_time or datetime.min.replace(tzinfo=UTC)
