"""The retrains of a schedule, one at a time, each a process: start, end, cancel, and what if one is cut short.

What Prefect believes to be under way though there is no process of ours is dead: the kernel ends a run together with
its scheduler (Linux). A run that was cut short is made up for once.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from flows import alerts
from flows import schedule_arrivals as arrivals
from flows import scheduler_prefect as prefect_side
from flows.lease import holder
from flows.schedule import Schedule
from tasks.process import end_with

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import FlowRunResponse

SKIPPED = "Skipped"
"""Name of the state of a run that found another retrain under way."""
GRACE_SECONDS = 45.0
"""Between asking a run to end and killing it. Its step has a grace of its own, and the worktree must be removed."""


@dataclass
class Retraining:
    """A run that is under way."""

    run_id: UUID
    tags: list[str]
    seen_before: str
    """Listing of the log files that the run before it saw."""
    process: "subprocess.Popen[bytes]"
    asked: float | None = None
    """When it was asked to end (monotonic clock)."""

    def end(self) -> None:
        """Ask it to end; if it was asked long ago, kill it."""
        if self.asked is None:
            self.process.terminate()
            self.asked = time.monotonic()
        elif time.monotonic() - self.asked > GRACE_SECONDS:
            self.process.kill()


class Runs:
    """The runs of a project's deployment, from look to look."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._arrivals = arrivals.Arrivals(home)
        self._now: Retraining | None = None

    def look(self, client: "SyncPrefectClient", schedule: Schedule) -> None:
        """Have Prefect know the schedule, see to the run that is under way, and start one that is due."""
        deployment_id = prefect_side.follow(client, self._home, schedule)
        once_more = None if schedule.paused else deployment_id
        if self._now is not None:
            self._attend(client, self._now, once_more)
        if deployment_id is None:
            return
        due = prefect_side.due(client, deployment_id)  # also with a run under way: the server wants to hear of us
        if self._now is not None:
            return
        if self._bury(client, deployment_id, once_more):
            due = prefect_side.due(client, deployment_id)
        if not due and self._order_for_arrivals(client, deployment_id, schedule):
            due = prefect_side.due(client, deployment_id)
        for missed in due[:-1]:
            prefect_side.miss(client, missed)
        if due and prefect_side.claim(client, due[-1].id):
            self._now = self._start(client, due[-1])

    def stop(self, address: str, schedule: Schedule | None) -> None:
        """End the run that is under way, if any, and have it made up for at the next start.

        Args:
            address: of the Prefect server.
            schedule: whose deployment it is.
        """
        run = self._now
        if run is None:
            return
        print("schedule  ends the retrain that is under way; the next start makes up for it", flush=True)
        while run.process.poll() is None:
            run.end()
            time.sleep(0.1)
        with prefect_side.connected(address) as client:
            state = prefect_side.state(client, run.run_id)
            if state is None or state.type not in ("PENDING", "RUNNING", "CRASHED"):
                return
            prefect_side.crashed(client, run.run_id, "It was ended together with its scheduler.")
            found = prefect_side.deployment(client, schedule) if schedule else None
            if found is not None:
                prefect_side.order(client, found.id, prefect_side.CATCH_UP)

    def _start(self, client: "SyncPrefectClient", run: "FlowRunResponse") -> Retraining:
        seen_before = arrivals.seen(self._home)
        arrivals.mark_seen(
            self._home, arrivals.listing(self._home)
        )  # now: were it to crash for ever, it is not asked so
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect.engine", str(run.id)],
            cwd=self._home,
            env=os.environ | {"PREFECT_API_URL": str(client.api_url).rstrip("/"), "PREFECT_LOGGING_LEVEL": "INFO"},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the scheduler, which sees to it that the run ends in order
            preexec_fn=partial(end_with, os.getpid()),
        )
        return Retraining(run.id, list(run.tags), seen_before, process)

    def _attend(self, client: "SyncPrefectClient", run: Retraining, once_more: UUID | None) -> None:
        """See whether the run has ended, or is to end."""
        state = prefect_side.state(client, run.run_id)
        unwanted = state is None or state.type in ("CANCELLING", "CANCELLED")
        if run.process.poll() is None:
            if unwanted:
                run.end()
            return
        if unwanted or run.asked is not None or state is None:
            said = "Cancelled"
            if state is not None:
                prefect_side.cancelled(client, run.run_id)
        elif state.type in ("COMPLETED", "FAILED"):
            said = f"{state.name}: {state.message}"
            if state.name == SKIPPED:
                arrivals.mark_seen(self._home, run.seen_before)
        else:
            said = f"the process of the retrain ended with exit code {run.process.returncode}"
            self._cut_short(client, run.run_id, run.tags, said, once_more)
        self._now = None
        print(f"schedule  {said}", flush=True)

    def _bury(self, client: "SyncPrefectClient", deployment_id: UUID, once_more: UUID | None) -> bool:
        """Say of runs that count as under way that they are dead. True if there were any."""
        dead = prefect_side.left_behind(client, deployment_id)
        for run in dead:
            if run.state is not None and run.state.type == "CANCELLING":
                prefect_side.cancelled(client, run.id)
                continue
            said = "the scheduler of a retrain was killed, and the retrain with it"
            print(f"schedule  {said}", flush=True)
            self._cut_short(client, run.id, run.tags, said, once_more)
        return bool(dead)

    def _cut_short(
        self, client: "SyncPrefectClient", run_id: UUID, tags: list[str], said: str, once_more: UUID | None
    ) -> None:
        """Mark a run as crashed, and order another one of the deployment `once_more`, unless it was that one."""
        prefect_side.crashed(client, run_id, said)
        again = once_more is not None and prefect_side.CATCH_UP not in tags
        if once_more is not None and again:
            prefect_side.order(client, once_more, prefect_side.CATCH_UP)
        then = "It is tried once more." if again else "It is not tried again before its time."
        alerts.send(self._home, "failed", reasons=[f"{said}.", then])

    def _order_for_arrivals(self, client: "SyncPrefectClient", deployment_id: UUID, schedule: Schedule) -> bool:
        """Order a run if files have come and nobody else is about to see them."""
        if not schedule.on_arrival or schedule.paused or holder(self._home) or not self._arrivals.are_due():
            return False
        prefect_side.order(client, deployment_id)
        return True
