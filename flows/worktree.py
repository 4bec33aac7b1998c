"""A git worktree for one retrain, `.ilm/worktrees/<run>`: the last commit, on the project's own DVC cache.

The user's branch, index and files are not touched: what a run makes comes back as a commit behind
`refs/ilm/runs/<run>`, the cached files that its dvc.lock names, and an entry in the registry. docs/retrain.md says what
is copied into it, and why.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from flows.lease import STATE
from ilm.errors import IlmError
from ilm.files import write_text
from tasks.process import end_with, identity, runs_here

WORKTREES = STATE / "worktrees"
RUNS, LATEST = "refs/ilm/runs", "refs/ilm/latest"
"""References to the commits of runs, and to that of the last one that came to its end."""
LOCK = "dvc.lock"
AUTHOR = ("-c", "user.name=ilm retrain", "-c", "user.email=ilm@localhost")


@dataclass(frozen=True)
class Worktree:
    """A checkout of its own."""

    home: Path
    """The project that it was made for."""
    run: str
    """Name of the run, and of the folder."""
    commit: str
    """What was checked out."""
    project: Path
    """Root of the project in the worktree; not the root of the worktree if the project is a folder of a repository."""

    def keep_lock(self, message: str) -> str:
        """Commit dvc.lock on top of what was checked out, and have `refs/ilm/runs/<run>` point there. Gives the commit.

        By git's plumbing, which runs no hook and asks for no signature.
        """
        git(self.project, "add", "--force", LOCK)
        tree = git(self.project, "write-tree")
        commit = git(self.project, *AUTHOR, "commit-tree", tree, "-p", self.commit, "-m", message)
        git(self.project, "update-ref", f"{RUNS}/{self.run}", commit)
        git(self.project, "update-ref", "--no-deref", "HEAD", commit)  # so that lineage names it
        return commit

    def make_latest(self, commit: str) -> None:
        """Have the next retrain begin where this one ended."""
        git(self.home, "update-ref", LATEST, commit)


def make(home: Path, run: str) -> Worktree:
    """Check out the last commit of `home`.

    Raises:
        IlmError: no git repository, no commit, or git fails (disk full).
    """
    commit = git(home, "rev-parse", "--verify", "HEAD")
    prefix = git(home, "rev-parse", "--show-prefix")
    folder = home.resolve() / WORKTREES / run
    write_text(_owner_file(folder), identity(psutil.Process()))  # first: nobody else may take it for a dead one's
    git(home, "worktree", "add", "--detach", "--quiet", str(folder), commit)
    project = folder / prefix
    missing = [name for name in ("dvc.yaml", "params.yaml") if not (project / name).is_file()]
    if missing:
        raise IlmError(f"{home}: {', '.join(missing)} not in the last commit, which is what a retrain runs. Commit it.")
    return Worktree(home, run, commit, project)


def remove(home: Path, run: str) -> None:
    """Remove a worktree and what git knows of it; nothing outside `.ilm/worktrees`."""
    if run in ("", ".", "..") or "/" in run:
        raise ValueError(f"{run!r} is no name of a run")
    folder = home.resolve() / WORKTREES / run
    _git(home, "worktree", "remove", "--force", "--force", str(folder))  # twice: even one that was not finished
    if folder.exists():  # git does not know it any more
        shutil.rmtree(folder)
    _owner_file(folder).unlink(missing_ok=True)


def sweep(home: Path) -> list[str]:
    """Remove the worktrees that no living process of this machine owns. Gives their names.

    To be called under the lease: on another machine nobody retrains then.
    """
    runs = {path.name.removesuffix(".owner") for path in (home / WORKTREES).glob("*")}
    dead = sorted(run for run in runs if not _is_owned(home / WORKTREES / run))
    for run in dead:
        remove(home, run)
    return dead


def changed_files(home: Path) -> list[str]:
    """Files that git tracks and that differ from the last commit."""
    lines = git(home, "status", "--porcelain", "--untracked-files=no", "-z").split("\0")
    return [line[3:] for line in lines if line]


def lock_of_last_run(home: Path) -> str | None:
    """The dvc.lock of the last run that came to its end; else the working copy's, or None."""
    prefix = git(home, "rev-parse", "--show-prefix")
    last = _git(home, "show", f"{LATEST}:{prefix}{LOCK}")
    if last.returncode == 0:
        return last.stdout
    return (home / LOCK).read_text(encoding="utf-8") if (home / LOCK).is_file() else None


def git(folder: Path, *arguments: str) -> str:
    """Run git without hooks and give what it prints.

    Raises:
        IlmError: it failed.
    """
    done = _git(folder, *arguments)
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise IlmError(
            f"{folder}: `git {arguments[0]}` failed: {said}. A retrain needs a git repository with a commit."
        )
    return done.stdout.removesuffix("\n")


def _git(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    ours = {
        name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE")
    }
    try:
        return subprocess.run(
            ["git", "-c", f"core.hooksPath={os.devnull}", *arguments],
            cwd=folder,
            env=ours | {"LC_ALL": "C"},
            capture_output=True,
            text=True,
            preexec_fn=partial(end_with, os.getpid()),
        )
    except FileNotFoundError:
        raise IlmError("git is not installed; a retrain works in a git worktree. Install git.") from None


def _owner_file(folder: Path) -> Path:
    return folder.parent / f"{folder.name}.owner"


def _is_owned(folder: Path) -> bool:
    try:
        return runs_here(_owner_file(folder).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
