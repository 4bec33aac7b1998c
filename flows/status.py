"""What `ilm status` shows: the last run of each step, what is out of date, the champion and its metrics."""

from dataclasses import dataclass
from pathlib import Path

from flows.stages import STEPS
from flows.summary import METRICS
from ilm.errors import ConfigError, IlmError
from ilm.files import read_json
from tasks import paths


@dataclass(frozen=True)
class StepState:
    """One step: `state` is never run, out of date, or up to date; the rest is of its last run."""

    name: str
    state: str
    finished_at: str = "-"
    seconds: str = "-"
    peak_memory_mb: str = "-"


def step_states(project: Path) -> list[StepState]:
    """The state of every step, from DVC's own comparison and the cost files.

    Raises:
        ConfigError: the folder is no DVC project, or its dvc.yaml is broken.
        IlmError: a run is under way and DVC cannot look.
    """
    changed, locked = _changed_stages(project)
    states = []
    for name in STEPS:
        cost_file = project / paths.COST / f"{name}.json"
        if name not in locked or not cost_file.exists():
            states.append(StepState(name, "never run"))
            continue
        cost = read_json(cost_file)
        states.append(
            StepState(
                name,
                "out of date" if name in changed else "up to date",
                str(cost["finished_at"]),
                f"{cost['seconds']:,.1f}",
                f"{cost['peak_memory_mb']:,.0f}",
            )
        )
    return states


def print_status(project: Path) -> None:
    """Print the state of steps and champion; what is missing is said with the command that makes it."""
    from rich.console import Console
    from rich.table import Table

    states = step_states(project)
    table = Table()
    for column in ("step", "state", "finished"):
        table.add_column(column)
    for column in ("seconds", "MB"):
        table.add_column(column, justify="right")
    for state in states:
        table.add_row(state.name, state.state, state.finished_at, state.seconds, state.peak_memory_mb)
    Console(highlight=False).print(table)
    if any(state.state != "up to date" for state in states):
        print("Run `ilm train` (or `dvc repro`): it does these steps and those that read what they change.")
    _print_champion(project)


def _print_champion(project: Path) -> None:
    from flows.registry import champion_metrics

    champion = champion_metrics(project)
    if champion is None:
        print("champion  none yet. Run `ilm train --bootstrap`.")
        return
    version, metrics = champion
    known = {label: metrics.get(f"sequential.filtered.{name}") for name, label in METRICS.items()}
    values = [f"{label} {'unknown' if value is None else f'{value:.4f}'}" for label, value in known.items()]
    print(f"champion  version {version}  {'  '.join(values)}  (sequential, seen items filtered)")


def _changed_stages(project: Path) -> tuple[set[str], set[str]]:
    """Stages whose inputs, settings or outputs differ from dvc.lock, and the stages that dvc.lock knows."""
    import logging

    import yaml
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    lock = project / "dvc.lock"
    locked = set(yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]) if lock.is_file() else set()
    try:
        return set(Repo(str(project)).status()), locked
    except LockError:
        raise IlmError("a run is under way: DVC holds its lock. Ask again when it has ended.") from None
    except DvcException as error:
        raise ConfigError(f"{project}: {error}. Run in the project's root folder, after `dvc init`.") from None
