"""What the processes of a training tell the step that started them: files in a folder that all machines share.

    started-RANK-START     empty; START counts how often the process of this rank was started before
    metrics-START.jsonl    every step's values, from the main process
    crash-RANK-PID.txt     the traceback of a process that ended badly; all go on from the last checkpoint
    error.json             a mistake of the user: nobody starts again

Files, not pipes: the main process may be on another machine, and what it told before it was killed stays.
"""

import json
import os
import traceback
from pathlib import Path

from ilm.errors import IlmError
from ilm.files import read_json, write_json

ERROR = "error.json"


class Outbox:
    """One process's side; its rank is the one that `torchrun` gives."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._rank = folder, int(os.environ.get("RANK", 0))
        start = len(list(folder.glob(f"started-{self._rank}-*")))  # torchrun's own count is one machine's
        (folder / f"started-{self._rank}-{start}").touch()
        self._metrics = folder / f"metrics-{start}.jsonl"

    def is_over(self) -> bool:
        """Whether an earlier start has met a mistake that is still there."""
        return (self._folder / ERROR).exists()

    def log(self, values: dict[str, float], step: int) -> None:
        """Tell a step's values; the main process does."""
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps([step, values]) + "\n")

    def mistake(self, error: IlmError) -> None:
        """Tell a mistake of the user."""
        write_json(self._folder / ERROR, str(error))

    def crash(self) -> None:
        """Tell the exception that is being handled."""
        file = self._folder / f"crash-{self._rank}-{os.getpid()}.txt"
        file.write_text(traceback.format_exc(), encoding="utf-8")


class Inbox:
    """The step's side."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[int, int] = {}
        self._known: set[tuple[str, int]] = set()

    @property
    def restarts(self) -> int:
        """How often the processes were started again; one that was killed early may have been started less often."""
        return max(map(_start, self._folder.glob("started-*")), default=0)

    def values(self) -> list[tuple[int, dict[str, float]]]:
        """What was logged since the last call: (step, values). What is trained again after a restart is not told again.

        The last line of a process that was killed may be half a line; it waits for its end for ever.
        """
        found = []
        for file in sorted(self._folder.glob("metrics-*.jsonl"), key=_start):
            place = self._read.get(_start(file), 0)
            with file.open("rb") as lines:
                lines.seek(place)
                whole = lines.read().rpartition(b"\n")[0]
            if not whole:
                continue
            self._read[_start(file)] = place + len(whole) + 1
            for step, values in map(json.loads, whole.splitlines()):
                new = {name: value for name, value in values.items() if (name, step) not in self._known}
                self._known |= {(name, step) for name in new}
                found += [(step, new)] if new else []
        return found

    def mistake(self) -> str | None:
        """The user's mistake that ended the training, if one did."""
        file = self._folder / ERROR
        return str(read_json(file)) if file.exists() else None

    def crash(self) -> str | None:
        """The traceback of the process that ended badly first, if one said so: others often end because of it."""
        files = sorted(self._folder.glob("crash-*.txt"), key=lambda file: file.stat().st_mtime_ns)
        return files[0].read_text(encoding="utf-8") if files else None


def _start(file: Path) -> int:
    return int(file.stem.rpartition("-")[2])
