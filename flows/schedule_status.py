"""What `ilm schedule --status` shows: what is next, whether somebody is there to do it, and how the last runs ended."""

import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from flows.lease import holder
from flows.schedule import Schedule, load
from flows.scheduler import FILE, Alive
from flows.scheduler_server import HOME
from ilm.errors import ArtifactError, IlmError
from ilm.files import read_json
from tasks.process import runs_here

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

SHOWN = 5
"""Last runs."""
START = "Start `ilm schedule --run`, and keep it alive (docs/schedule.md)."

UNIT = """\
# ~/.config/systemd/user/{name}.service
# systemctl --user enable --now {name}; loginctl enable-linger, to have it run without anybody logged in
[Unit]
Description=Retrains {home}

[Service]
WorkingDirectory={home}
EnvironmentFile=-{home}/.ilm/environment
ExecStart={python} -m flows.cli schedule --run
Restart=on-failure
RestartSec=10
KillMode=mixed
TimeoutStopSec=90

[Install]
WantedBy=default.target
"""


def print_status(home: Path) -> int:
    """Print the state of the schedule.

    Returns:
        Exit code: 1 if there is a schedule that nobody follows, or that will never come to be; else 0.
    """
    schedule, alive = load(home), scheduler(home)
    if schedule is None or not schedule.is_wanted:
        print('schedule   none. Set one: `ilm schedule --cron "0 3 * * *"`.')
        return 0
    print(f"schedule   {schedule}{', paused: `ilm schedule --resume`' if schedule.paused else ''}")
    problems = []
    if alive is None:
        print("scheduler  none")
        problems.append(f"nothing follows the schedule. {START}")
        _print_records(home)
    else:
        print(f"scheduler  `ilm schedule --run` has been alive since {_time(datetime.fromtimestamp(alive.since, UTC))}")
        print(
            f"alerts     {', '.join(alive.alerts) or 'none: it was started without ILM_ALERT_COMMAND, ILM_ALERT_URL'}"
        )
        if alive.trouble:
            problems.append(alive.trouble)
        problems += _ask_server(home, alive.address, schedule)
    held = holder(home)
    print(f"now        {f'a retrain is under way: {held}' if held else 'no retrain is under way'}")
    for problem in problems:
        print(f"problem    {problem}")
    return int(bool(problems) and not schedule.paused)


def warn_if_nobody_follows(home: Path) -> None:
    """Say that a schedule does nothing by itself, unless a scheduler is alive."""
    if scheduler(home) is None:
        print(f"schedule  nothing follows it yet. {START}")


def scheduler(home: Path) -> Alive | None:
    """The living scheduler of a project, on this machine.

    Raises:
        ArtifactError: scheduler.json is damaged.
    """
    try:
        found = Alive.model_validate_json((home / FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise ArtifactError(f"{home / FILE}: damaged. Delete it, and restart `ilm schedule --run`.") from None
    return found if runs_here(found.process) else None


def unit(home: Path) -> str:
    """A systemd unit that keeps the scheduler of a project alive.

    Raises:
        IlmError: the project's path cannot be written into one.
    """
    home = home.resolve()
    if shlex.quote(str(home)) != str(home) or "%" in str(home):
        raise IlmError(f"{home}: a systemd unit needs a path without spaces and signs. Link to it from another one.")
    return UNIT.format(name=f"ilm-{home.name}", home=home, python=sys.executable)


def _ask_server(home: Path, address: str, schedule: Schedule) -> list[str]:
    """Print what the Prefect server knows. Gives what is wrong."""
    os.environ.setdefault("PREFECT_HOME", str(home.resolve() / HOME))
    os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"
    from flows import scheduler_prefect as prefect_side

    try:
        with prefect_side.connected(address) as client:
            return _print_plan(client, address, schedule)
    except Exception as error:  # of many kinds, for a server that is down, starting, or somebody else's
        _print_records(home)
        return [f"the Prefect server at {address} does not answer ({type(error).__name__})."]


def _print_plan(client: "SyncPrefectClient", address: str, schedule: Schedule) -> list[str]:
    from flows import scheduler_prefect as prefect_side

    print(f"server     {address.removesuffix('/api')}  answers")
    found = prefect_side.deployment(client, schedule)
    if found is None:
        return [f"the Prefect server has no deployment {schedule.name} yet; `ilm schedule --run` makes it."]
    due = prefect_side.next_time(client, found.id)
    print(f"next       {_time(due) if due else 'when files come' if schedule.on_arrival else 'nothing'}")
    for run in prefect_side.last(client, found.id, SHOWN):
        state = run.state
        if state is not None:
            print(f"last       {_time(run.end_time or state.timestamp)}  {state.name}  {state.message or ''}".rstrip())
    problems = []
    if found.paused and not schedule.paused:
        problems.append("the deployment was paused in Prefect. `ilm schedule --resume` goes on.")
    elif due is None and (schedule.cron or schedule.every_seconds) and not schedule.paused:
        problems.append("Prefect has no run in store for the schedule. Is its cron expression ever true?")
    if found.status is not None and found.status.value != "READY":
        problems.append("the scheduler has not asked Prefect for work in the last minute: it starts, or hangs.")
    return problems


def _print_records(home: Path) -> None:
    """The last retrains that came to an end, by whatever they were started."""
    from flows.retrain import RUNS

    for record in sorted((home / RUNS).glob("*/run.json"))[: -SHOWN - 1 : -1]:
        done = read_json(record)
        print(f"last       {done['run']}  {done['outcome']}  {' '.join(done['reasons'])}")


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
