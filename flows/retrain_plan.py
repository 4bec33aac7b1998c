"""What `ilm retrain --dry-run` prints: what is fresh, which stages would run and why, how long that took last time.

It looks from a worktree of its own, which it removes: neither the project nor a retrain that is under way notices.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows import worktree
from flows.lease import Holder, holder
from flows.retrain import new_run
from flows.retrain_inputs import Generation, bring_in
from flows.retrain_previous import bring_previous
from flows.worktree import Worktree
from ilm.errors import DataError, IlmError
from ilm.files import read_json
from ilm.params import Params, load_params
from tasks.lineage import read_stage
from tasks.now import current_time
from tasks.paths import COST, LOG_STORE


@dataclass(frozen=True)
class FreshFile:
    """A log file that no retrain has read yet."""

    name: str
    rows: int
    good: int
    """Rows that break no rule; some may be told already, or be of items that the catalogue does not know."""


@dataclass(frozen=True)
class PlannedStage:
    """One stage."""

    name: str
    reasons: tuple[str, ...]
    """Why it would run; none if it is up to date."""
    seconds: float | None
    """What it took at the last run; None if unknown."""


@dataclass(frozen=True)
class Plan:
    """What a retrain would do now."""

    commit: str
    changed: list[str]
    """Files that differ from the commit, and are not part of a retrain."""
    fresh: list[FreshFile]
    least: int
    """retrain.min_new_interactions"""
    stages: list[PlannedStage]
    stops: str | None
    """Why step `ingest` would stop, as far as the log files say."""
    held_by: Holder | None
    """Whose retrain is under way."""


def plan(home: Path) -> Plan:
    """Look at what a retrain would do now.

    Raises:
        IlmError: as a retrain would at its start.
    """
    home, run = home.resolve(), f"plan-{new_run()}"
    held_by, changed = holder(home), worktree.changed_files(home)
    try:
        tree = worktree.make(home, run)
        before = bring_in(tree)
        bring_previous(tree, before)
        params = load_params(tree.project / "params.yaml")
        stages = planned_stages(tree.project, params, before)  # before the store of logs is brought up to date
        fresh, stops = _fresh_files(tree, params)
    except OSError as error:
        raise IlmError(f"retrain: {error}. Make room on the disk, or give access; then ask again.") from error
    finally:
        worktree.remove(home, run)
    return Plan(tree.commit, changed, fresh, params.retrain.min_new_interactions, stages, stops, held_by)


def planned_stages(project: Path, params: Params, before: Generation) -> list[PlannedStage]:
    """All stages in their order, in a project whose outputs need not be there: those in the cache count as there."""
    from dvc.repo import Repo

    with contextlib.closing(Repo(str(project))) as repo:
        found = {key.rpartition(":")[2]: changes for key, changes in repo.status().items()}
    names = list(yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    made = {path: name for name in names for path in _outputs(project, name, params)}
    reasons: dict[str, tuple[str, ...]] = {}
    for name in names:
        own = _own_reasons(found.get(name, []), set(made), before)
        inputs = {str(path) for path in read_stage(name, params, project / "dvc.yaml").inputs}
        after = sorted({made[path] for path in inputs if path in made and reasons[made[path]]}, key=names.index)
        reasons[name] = (*own, *(f"after {earlier}" for earlier in after))
    return [PlannedStage(name, reasons[name], _seconds(name, before)) for name in names]


def _outputs(project: Path, name: str, params: Params) -> set[str]:
    stage = read_stage(name, params, project / "dvc.yaml")
    return {str(path) for path in (*stage.outputs, COST / f"{name}.json")}


def _own_reasons(changes: list[Any], made: set[str], before: Generation) -> list[str]:
    """What DVC finds changed, without what other stages make, and without outputs that the cache has."""
    reasons = []
    for change in changes:
        if isinstance(change, str):  # changed command, always changed
            reasons.append(change)
            continue
        for path, kind in change.get("changed deps", {}).items():
            if isinstance(kind, dict):
                reasons += [f"{setting} {how}" for setting, how in kind.items()]
            elif path not in made:
                reasons.append(f"{path} {kind}")
        for path in change.get("changed outs", {}):
            if before.file(Path(path)) is None:
                reasons.append(f"{path} not in the cache" if path in before.outs else f"{path} never made")
    return reasons


def _fresh_files(tree: Worktree, params: Params) -> tuple[list[FreshFile], str | None]:
    """By the code of step `ingest`, on the worktree's copy of logs and store."""
    from ilm.data.logs.files import find
    from ilm.data.logs.update import update
    from ilm.data.rules import earliest_moment

    with contextlib.chdir(tree.project):
        if not Path(params.data.logs).is_dir():
            return [], None
        found = find(Path(params.data.logs), settle_seconds=0)
        try:
            done = update(
                found.logs, LOG_STORE, params.data, earliest_moment(params.validate_.earliest), current_time()
            )
        except DataError as error:
            return [], str(error)
    files = [done.store.manifest.files[sha] for sha in done.read]
    return sorted((FreshFile(f.name, f.rows, f.good) for f in files), key=lambda file: file.name), None


def _seconds(name: str, before: Generation) -> float | None:
    cost = before.file(COST / f"{name}.json")
    return float(read_json(cost)["seconds"]) if cost else None


def print_plan(home: Path) -> None:
    """Print what a retrain would do now."""
    found = plan(home)
    print(f"commit    {found.commit[:12]}, the last one: what a retrain runs")
    if found.changed:
        print(f"          without what has changed since in {', '.join(found.changed)}")
    for file in found.fresh:
        print(f"fresh     {file.name}  {file.rows:,} rows, {file.good:,} of them good")
    at_most = sum(file.good for file in found.fresh)
    print(f"new       at most {at_most:,} interactions from log files; retrain.min_new_interactions is {found.least:,}")
    if found.stops:
        print(f"stops     {found.stops}")
    for stage in found.stages:
        took = "" if stage.seconds is None else f"  {stage.seconds:,.1f} s last time"
        print(f"{'run' if stage.reasons else 'skip':<10}{stage.name:<10}{took}  {', '.join(stage.reasons)}".rstrip())
    known = [stage.seconds for stage in found.stages if stage.reasons and stage.seconds is not None]
    unknown = [stage.name for stage in found.stages if stage.reasons and stage.seconds is None]
    print(f"time      about {sum(known) / 60:,.1f} minutes" + (f", and {', '.join(unknown)}" if unknown else ""))
    print("drift     known after step cf")
    if found.held_by:
        print(f"now       a retrain is under way: {found.held_by}")
