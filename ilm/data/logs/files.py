"""Which files of the logs folder can be read now. A file is known by its content, whatever its name."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ilm.data.folder import FORMATS
from ilm.errors import DataError
from ilm.files import digest

SUFFIXES = (*(f".{name}" for name in FORMATS), ".csv.gz", ".jsonl.gz")
UNFINISHED = (".tmp", ".part")
BEING_WRITTEN = "it is still being written"
ITEMS_PREFIX = "items"
"""Files whose name begins so describe items; all others are logs."""


class Rejected(DataError):
    """A file that cannot be used as a whole. `rule` is its name in quarantine."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


@dataclass(frozen=True)
class LogFile:
    """A file as it was when it was hashed."""

    path: Path
    name: str
    """Relative to the logs folder, with forward slashes."""
    sha256: str
    state: tuple[int, int]
    """Bytes, and when it was last changed (ns)."""

    def unchanged(self) -> bool:
        """Whether the file still is what was hashed, as far as its size and time say."""
        return _state(self.path) == self.state


@dataclass(frozen=True)
class Found:
    """What lies in the logs folder, sorted by name."""

    logs: list[LogFile]
    items: list[LogFile]
    left: dict[str, str]
    """Name -> why the file is left for the next run."""
    rejected: dict[str, Rejected]
    """Name -> why the file cannot even be opened, or is of no known form."""
    folder: Path
    states: dict[str, tuple[int, int] | None]
    """All files by name, as they were before they were hashed."""

    def is_settled(self) -> bool:
        """Whether no file was being written, and none has come, gone or changed since."""
        return (
            BEING_WRITTEN not in self.left.values()
            and {name: _state(path) for name, path in _walk(self.folder)} == self.states
        )


def find(folder: Path, settle_seconds: float, wait: Callable[[float], None] = time.sleep) -> Found:
    """List and hash the files of the folder and of folders in it; hidden ones do not count.

    A file that was changed in the last `settle_seconds` may still be written. All such files are watched once for that
    long; those that did not change are taken. (Left out for their age alone, they would be forgotten: DVC counts the
    folder as it is as read.)

    Args:
        folder: `data.logs`.
        settle_seconds: `data.settle_seconds`.
        wait: sleeps.

    Raises:
        DataError: there is no such folder, or it, or a folder in it, may not be listed.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Create it, or set data.logs in params.yaml to where log files lie.")
    paths = dict(_walk(folder))
    left = {name: "its name says that it is not finished" for name in paths if name.endswith(UNFINISHED)}
    before = {name: _state(path) for name, path in sorted(paths.items())}
    now = time.time()
    fresh = {name for name, state in before.items() if state and abs(now - state[1] / 1e9) < settle_seconds}
    if fresh - left.keys():
        wait(settle_seconds)
    states = before | {name: _state(paths[name]) for name in fresh}
    logs: list[LogFile] = []
    items: list[LogFile] = []
    rejected: dict[str, Rejected] = {}
    for name, state in states.items():
        if name in left:
            continue
        if (state is None or state != before[name]) and not _leads_nowhere(paths[name]):
            left[name] = BEING_WRITTEN
            continue
        try:
            file = identified(paths[name], name)
        except Rejected as error:
            rejected[name] = error
            continue
        (items if file.path.name.startswith(ITEMS_PREFIX) else logs).append(file)
    return Found(logs, items, left, rejected, folder, states)


def identified(path: Path, name: str) -> LogFile:
    """Hash a file.

    Raises:
        Rejected: of no known form, or may not be read.
    """
    if _leads_nowhere(path):
        raise Rejected("file_unreadable", "a link to a folder, or to nothing; only links to files are followed")
    if not name.endswith(SUFFIXES):
        raise Rejected("file_format_unknown", f"not one of {', '.join(SUFFIXES)}")
    try:
        status = path.stat()
        return LogFile(path, name, digest(path), (status.st_size, status.st_mtime_ns))
    except OSError as error:
        raise Rejected("file_unreadable", f"may not be read ({error.strerror})") from None


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Names and paths of files, and of links that are none. A name that is no UTF-8 is given as it prints."""
    for parent, folders, names in os.walk(folder, onerror=_unlisted):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(parent, name) for name in [*folders, *names] if not name.startswith(".")):
            if path.is_file() or path.is_symlink():
                name = path.relative_to(folder).as_posix()
                yield name.encode("utf-8", "backslashreplace").decode(), path


def _unlisted(error: OSError) -> None:
    # Passed over, its files would count as taken away, and their rows with them.
    raise DataError(
        f"{error.filename}: may not be listed ({error.strerror}). Give access, or take it out of data.logs."
    )


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.is_file()


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of change; None if the file is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
