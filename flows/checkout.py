"""`ilm checkout VERSION DIR`: the code, settings, data and artifacts of a registered version, in a folder of their own.

The folder is an export, not a git worktree: it may be moved or deleted, and the project does not know of it. Code comes
from the version's commit; params.yaml, dvc.yaml, dvc.lock from the registry; files from the DVC cache, else the remote.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows.registry_inputs import inputs_of
from flows.registry_store import Registry
from flows.retrain_inputs import share_cache
from flows.stages import stage_environment
from flows.version import INPUTS, LINEAGE, PIPELINE
from flows.worktree import Worktree
from ilm.errors import ArtifactError, ConfigError
from ilm.files import replaced, write_text
from tasks.lineage import dvc_md5


@dataclass(frozen=True)
class CheckedOut:
    """What was brought back."""

    version: str
    commit: str
    notes: tuple[str, ...]
    """What the folder lacks, or why it may differ from what the version was made of."""


def checkout(project: Path, version: str, folder: Path) -> CheckedOut:
    """Bring a version back into a new folder, whole or not at all; the project's files and branches are not touched.

    Args:
        project: its DVC cache and remotes are used.
        version: number, or an alias such as champion.
        folder: must not exist yet, or be empty.

    Raises:
        ConfigError: there is no such version, or there is something in the folder.
        ArtifactError: files are neither in the cache nor in a remote.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: there is something already. Name a folder that does not exist.")
    registry = Registry.open(project)
    found = registry.find(version)
    number, commit = str(found.version), found.tags.get("git.commit", "none")
    lineage = registry.folder(number, f"artifacts/{LINEAGE}")
    with replaced(folder) as there:
        there.mkdir()
        notes = _code(project, commit, there)
        if found.tags.get("git.dirty") != "false":
            notes.append(f"the code had changes that were not committed; this is commit {commit[:12]}")
        _lay(lineage, there)
        notes += _without_content(there)
        _files(project, there)
    return CheckedOut(number, commit, tuple(notes))


def _code(project: Path, commit: str, there: Path) -> list[str]:
    """Export the project as it was in that commit, if this repository has it. Gives what is to be said."""
    prefix = _git(project, "rev-parse", "--show-prefix").stdout.decode().strip()
    index = there / ".index"
    if _git(project, "read-tree", f"--index-output={index}", f"{commit}:{prefix}", index=index).returncode != 0:
        return [f"no code: commit {commit[:12]} is not in this repository (`git fetch` may bring it)"]
    done = _git(project, "checkout-index", "--all", f"--prefix={there}/", index=index)
    if done.returncode != 0:
        raise ArtifactError(f"{there}: git cannot write the code: {done.stderr.decode(errors='replace').strip()}.")
    index.unlink()
    return []


def _lay(lineage: Path, there: Path) -> None:
    """Put the version's pipeline files and the .dvc files of its inputs in their places."""
    kept = lineage / INPUTS
    files = [lineage / name for name in PIPELINE] + [file for file in kept.rglob("*") if file.is_file()]
    for file in files:
        if file.is_file():  # a version of before lacks dvc.yaml and inputs; its commit has the first
            target = there / file.relative_to(kept if file.is_relative_to(kept) else lineage)
            write_text(target, file.read_text(encoding="utf-8"))


def _without_content(there: Path) -> list[str]:
    """Inputs of the pipeline that neither the cache nor git has kept as they were."""
    lost = []
    for path, md5 in inputs_of(there).items():
        found = there / path
        if not (there / f"{path}.dvc").exists() and not (found.exists() and dvc_md5(found) == md5):
            lost.append(path)
    return [f"{path} is not as it was: it was not kept when the version was registered" for path in lost]


def _files(project: Path, there: Path) -> None:
    """Fill the folder from the cache, and from the remote what the cache lacks.

    Raises:
        ArtifactError: some are in neither.
    """
    from dvc.config import Config

    (there / ".dvc").mkdir(exist_ok=True)
    cache = share_cache(Worktree(project, "", "", there))
    without_git = {"core": {"no_scm": True}}
    _configure(there, without_git)
    said = ""
    if list(_missing(there, cache)):
        said = " ".join(_dvc(there, "fetch").stderr.split())
    missing = sorted(_missing(there, cache))
    if missing:
        shown = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
        raise ArtifactError(
            f"not in the cache {cache}, nor in a remote: {shown}. Run `dvc push` where the version was made. DVC said: "
            f"{said}"
        )
    # The remotes of config.local do not stay with the folder: they may hold passwords, and it may be passed on.
    (there / ".dvc" / "config.local").unlink()
    ours = Config(str(project / ".dvc"), validate=False).load_one("repo")
    _configure(there, ours, without_git, {"cache": {"dir": str(cache)}})
    done = _dvc(there, "checkout")
    if done.returncode != 0:
        raise ArtifactError(f"{there}: DVC cannot check out: {' '.join(done.stderr.split())}. Mend it, run again.")
    shutil.rmtree(there / ".dvc" / "tmp", ignore_errors=True)


def _configure(there: Path, *levels: dict[str, Any]) -> None:
    """Add to the folder's own settings of DVC."""
    from dvc.config import Config, merge

    with Config(str(there / ".dvc"), validate=False).edit("local") as local:
        for level in levels:
            merge(local, level)


def _missing(there: Path, cache: Path) -> Iterator[str]:
    """Paths whose content the cache lacks."""
    outs = [(Path(out["path"]), out["md5"]) for stage in _stages(there) for out in stage.get("outs", [])]
    for file in there.rglob("*.dvc"):
        if file.is_file():
            for out in yaml.safe_load(file.read_text(encoding="utf-8")).get("outs", []):
                outs.append((file.parent.relative_to(there) / out["path"], out["md5"]))
    for path, md5 in outs:
        cached = _cached(cache, md5)
        if not cached.is_file():
            yield f"{path} (md5 {md5})"
        elif md5.endswith(".dir"):
            for entry in json.loads(cached.read_text(encoding="utf-8")):
                if not _cached(cache, entry["md5"]).is_file():
                    yield f"{path / entry['relpath']} (md5 {entry['md5']})"


def _cached(cache: Path, md5: str) -> Path:
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def _stages(there: Path) -> list[dict[str, list[dict[str, str]]]]:
    return list(yaml.safe_load((there / "dvc.lock").read_text(encoding="utf-8"))["stages"].values())


def _dvc(there: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in stage_environment().items() if not key.startswith("DVC_ROOT")}
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=there, env=environment, capture_output=True, text=True
    )


def _git(project: Path, *arguments: str, index: Path | None = None) -> "subprocess.CompletedProcess[bytes]":
    environment = os.environ | {"LC_ALL": "C"} | ({"GIT_INDEX_FILE": str(index)} if index else {})
    return subprocess.run(["git", *arguments], cwd=project, env=environment, capture_output=True)
