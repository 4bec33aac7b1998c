"""What a retrain reads, brought into its worktree: the DVC cache, data, models, and where the last run left off.

Data are copied as they are when the run begins. DVC hashes what a step has read *after* the step: were a file to grow
meanwhile, its new rows would count as read for ever. Models are linked: their hash is part of the result.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from flows.lease import STATE
from flows.stages import stage_environment
from flows.worktree import LOCK, Worktree, lock_of_last_run
from ilm.errors import ArtifactError, IlmError
from ilm.files import write_text
from ilm.params import Params, load_params
from tasks.paths import CHECKPOINTS, PREVIOUS
from tasks.process import end_with


@dataclass(frozen=True)
class Generation:
    """What an earlier run made, as its dvc.lock names it and the cache may still hold it."""

    outs: dict[str, str]
    """Path of a file or folder -> md5."""
    cache: Path

    def file(self, path: Path) -> Path | None:
        """Where the cache holds a file of that generation; None if there was none, or it is no longer there."""
        return self._cached(self.outs.get(path.as_posix()))

    def fetch(self, path: Path, target: Path) -> bool:
        """Copy a file or folder of that generation out of the cache. False, and nothing done, if it is not whole there.

        A folder is a JSON list of the files in it, under an md5 that ends in `.dir`.
        """
        cached = self.file(path)
        if cached is None:
            return False
        wanted = {target: cached}
        if cached.name.endswith(".dir"):
            listed = json.loads(cached.read_text(encoding="utf-8"))
            found = {target / entry["relpath"]: self._cached(entry["md5"]) for entry in listed}
            wanted = {name: source for name, source in found.items() if source is not None}
            if len(wanted) < len(listed):
                return False
        for name, source in wanted.items():
            name.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, name)
        return True

    def _cached(self, md5: str | None) -> Path | None:
        path = self.cache / "files" / "md5" / md5[:2] / md5[2:] if md5 else None
        return path if path is not None and path.is_file() else None


def bring_in(tree: Worktree) -> Generation:
    """Prepare a fresh worktree to run. Gives the generation that its results will be compared with.

    Raises:
        IlmError: settings are wrong, the DVC cache cannot be written, or data changed while they were copied.
        OSError: data cannot be copied (disk full).
    """
    params = load_params(tree.project / "params.yaml")
    cache = share_cache(tree)
    for folder in (params.data.folder, str(PREVIOUS)):
        changed = _copy(tree, folder)
        if changed:
            raise ArtifactError(
                f"{folder}: {', '.join(changed)} changed while it was copied. Run again when the folder is complete."
            )
    _copy_logs(tree, params)
    for name in (params.model.llm, params.model.text_encoder):
        if (tree.home / name).is_dir() and not (tree.project / name).exists():
            _link(tree.project / name, tree.home / name)
    checkpoints = tree.home / STATE / "checkpoints"  # not the working copy's: only one retrain writes here, by lease
    checkpoints.mkdir(exist_ok=True)
    _link(tree.project / CHECKPOINTS, checkpoints)
    lock = lock_of_last_run(tree.home)
    if lock is not None:
        write_text(tree.project / LOCK, lock)
    generation = Generation(locked_outs(tree.project / LOCK), cache)
    _check_out(tree, generation)
    return generation


def share_cache(tree: Worktree) -> Path:
    """Point the worktree's DVC at the project's cache and remotes, with its link types. Gives the cache.

    Raises:
        IlmError: it cannot be written to.
    """
    from dvc.config import Config, merge

    ours = Config(str(tree.home / ".dvc"), validate=False)
    levels = [ours.load_one(level) for level in ("repo", "local")]  # with absolute paths
    cache = Path(ours["cache"].get("dir") or tree.home.resolve() / ".dvc" / "cache")
    cache.mkdir(parents=True, exist_ok=True)
    if not os.access(cache, os.W_OK):
        raise IlmError(f"{cache}: DVC's cache cannot be written to, so no step could keep its result. Give access.")
    config = tree.project / ".dvc" / "config.local"
    config.touch(mode=0o600)  # it may hold a remote's password
    with Config(str(tree.project / ".dvc"), validate=False).edit("local") as local:
        for level in levels:
            merge(local, level)
        local["cache"]["dir"] = str(cache)
        local["core"]["site_cache_dir"] = str(tree.project / ".dvc" / "tmp" / "site")  # goes with the worktree
    return cache


def locked_outs(lock: Path) -> dict[str, str]:
    """Path -> md5 of all outputs and metrics in a dvc.lock; none if the file is not there."""
    if not lock.is_file():
        return {}
    stages: dict[str, Any] = yaml.safe_load(lock.read_text(encoding="utf-8")).get("stages", {})
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}


def _check_out(tree: Worktree, generation: Generation) -> None:
    """Bring back the outputs that steps continue instead of making them anew (`persist: true`)."""
    graph = yaml.safe_load((tree.project / "dvc.yaml").read_text(encoding="utf-8"))
    entries = [out for stage in graph["stages"].values() for out in stage.get("outs", []) if isinstance(out, dict)]
    kept = [path for entry in entries for path, options in entry.items() if options.get("persist")]
    for path in (path for path in kept if path in generation.outs):
        done = subprocess.run(
            [sys.executable, "-m", "flows.dvc_child", "dvc", "checkout", path],
            cwd=tree.project,
            env=stage_environment(),
            capture_output=True,
            text=True,
            preexec_fn=partial(end_with, os.getpid()),
        )
        if done.returncode != 0:
            print(f"retrain  {path} of the last run is not in DVC's cache; it is made anew", flush=True)


def _copy_logs(tree: Worktree, params: Params) -> None:
    """Copy the log files that are complete; the next run takes the others."""
    from ilm.data.logs.files import find

    folder = params.data.logs
    if Path(folder).is_absolute() or not (tree.home / folder).is_dir():
        return
    found = find(tree.home / folder, params.data.settle_seconds)
    left = found.left | {n: str(error) for n, error in found.rejected.items() if error.rule == "file_unreadable"}
    for name in _copy(tree, folder, left):
        (tree.project / folder / name).unlink(missing_ok=True)
        left[name] = "it changed while it was copied"
    for name, why in left.items():
        print(f"retrain  log file {name} is left for the next run: {why}", flush=True)


def _copy(tree: Worktree, folder: str, leave: Iterable[str] = ()) -> list[str]:
    """Put the files of a folder into the worktree, in the place of what git knows of it. Gives those that changed.

    An absolute path is read in place. Times of change are kept: step `ingest` goes by them.
    """
    source, target = tree.home / folder, tree.project / folder
    if Path(folder).is_absolute() or not source.is_dir():
        return []
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    names = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()} - set(leave)
    before = {name: _state(source / name) for name in sorted(names)}
    for name, state in before.items():
        if state is not None:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)
    return [name for name, state in before.items() if state is None or _state(source / name) != state]


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of change (ns); None if the file is gone."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target.resolve(), target_is_directory=True)
