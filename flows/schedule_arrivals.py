"""Retraining on arrival: which state of data.logs no retrain has seen yet. Names, sizes and times; no file is opened.

Whether it is enough is the retrain's to say. Of the same files it is asked once, whatever it said.
"""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from flows.lease import STATE
from ilm.errors import IlmError
from ilm.files import write_text
from ilm.params import load_params

SEEN = STATE / "arrivals.seen"
"""Digest of the last listing that a retrain has seen to its end."""
LONGEST_WAIT = 900.0
"""Seconds after which a folder that never comes to rest is taken as it is; the retrain leaves unfinished files."""
COST = 20
"""A look at the folder that takes a second is repeated after so many."""


class Arrivals:
    """Watches a project's log folder, from look to look."""

    def __init__(self, home: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._home, self._clock = home, clock
        self._last: str | None = None
        self._still_since = self._new_since = self._next_look = 0.0

    def are_due(self) -> bool:
        """Whether files have come, gone or changed since the last retrain, and the folder is at rest."""
        began = self._clock()
        if began < self._next_look:
            return False
        settled, now = load_params(self._home / "params.yaml").data.settle_seconds, listing(self._home)
        self._next_look = began + COST * (self._clock() - began)
        if now == seen(self._home):
            self._last = None
            return False
        if self._last is None:
            self._new_since = began
        if now != self._last:
            self._last, self._still_since = now, began
        return began - self._still_since >= settled or began - self._new_since >= LONGEST_WAIT


def listing(home: Path) -> str:
    """Digest of the names, sizes and times of change of all log files; empty if there is no file.

    Raises:
        IlmError: params.yaml is wrong, or a folder may not be listed.
    """
    folder = home / load_params(home / "params.yaml").data.logs
    lines = []
    for parent, folders, names in os.walk(folder, onerror=_unlisted):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(parent, name) for name in names if not name.startswith(".")):
            try:
                status = path.stat()
            except OSError:  # gone, or a link to nothing
                continue
            lines.append(f"{path.relative_to(folder)}\0{status.st_size}\0{status.st_mtime_ns}")
    text = "\n".join(sorted(lines)).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest() if lines else ""


def seen(home: Path) -> str:
    """The last listing that a retrain has seen; empty if none was."""
    file = home / SEEN
    return file.read_text(encoding="ascii").strip() if file.exists() else ""


def mark_seen(home: Path, digest: str) -> None:
    """Remember a listing, taken before a retrain began, as seen."""
    write_text(home / SEEN, digest + "\n")


def _unlisted(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise IlmError(f"{error.filename}: may not be listed ({error.strerror}). Give access.")
