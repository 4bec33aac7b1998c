"""Where artifacts come from: a stage's settings, inputs and outputs in dvc.yaml, their md5 as DVC counts it, git."""

import hashlib
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ilm.errors import ConfigError
from ilm.files import digest
from ilm.params import Params
from tasks.paths import COST

CODE = ("ilm/", "tasks/", "flows/")


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml, as far as lineage needs it: the cost file is left out."""

    name: str
    settings: dict[str, str]
    """Dotted name -> value, of the sections that the stage depends on."""
    inputs: tuple[Path, ...]
    """Data dependencies."""
    outputs: tuple[Path, ...]
    code: tuple[Path, ...]
    """Files and folders of code, relative to the repository."""


def read_stage(name: str, params: Params, graph: Path = Path("dvc.yaml")) -> Stage:
    """Read one stage.

    Raises:
        ConfigError: dvc.yaml is missing, or has no such stage.
    """
    try:
        stages = yaml.safe_load(graph.read_text(encoding="utf-8"))["stages"]
    except FileNotFoundError:
        raise ConfigError(f"{graph}: not found. Run from the project's root folder, where it lies.") from None
    if name not in stages:
        raise ConfigError(f"{graph}: no stage '{name}' (there are: {', '.join(stages)}).")
    stage, settings = stages[name], _flat(params.model_dump(by_alias=True, mode="json"))
    dependencies = _paths(stage, "deps", settings)
    outputs = [Path(path) for key in ("outs", "metrics", "plots") for path in _paths(stage, key, settings)]
    return Stage(
        name=name,
        settings={
            k: v for k, v in settings.items() if any(f"{k}.".startswith(f"{s}.") for s in stage.get("params", []))
        },
        inputs=tuple(Path(path) for path in dependencies if not path.startswith(CODE)),
        outputs=tuple(path for path in outputs if path.parent != COST),
        code=tuple(Path(path) for path in dependencies if path.startswith(CODE)),
    )


def _paths(stage: dict[str, Any], key: str, settings: dict[str, str]) -> list[str]:
    """Paths of a list in dvc.yaml, with ${section.setting} filled in; an entry may be a path or {path: options}."""
    entries = [entry if isinstance(entry, str) else next(iter(entry)) for entry in stage.get(key, [])]
    return [re.sub(r"\$\{([\w.]+)\}", lambda match: settings[match[1]], entry) for entry in entries]


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, str) else json.dumps(value)
    return flat


def dvc_md5(path: Path) -> str:
    """The md5 that dvc.lock has for a file or folder.

    Raises:
        ArtifactError: there is no such file or folder.
    """
    if not path.is_dir():
        return digest(path, "md5")
    files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
    listing = json.dumps([{"md5": digest(file, "md5"), "relpath": name} for name, file in files], sort_keys=True)
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"


def origin(project: Path) -> dict[str, str]:
    """Tags that say what code and data state this is: git commit, uncommitted changes or not, sha256 of dvc.lock."""
    lock = project / "dvc.lock"
    changes = _git(project, "status", "--porcelain", "--untracked-files=no")
    return {
        "git.commit": _git(project, "rev-parse", "--verify", "HEAD") or "none",
        "git.dirty": "unknown" if changes is None else str(bool(changes)).lower(),
        "dvc.lock.sha256": digest(lock) if lock.is_file() else "none",
    }


def _git(project: Path, *arguments: str) -> str | None:
    """Output of a git command; None where there is no git, no repository or no commit."""
    try:
        done = subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
