"""The ledger of promotions: what was champion when, who decided, on which evidence. Append-only, one JSON per line.

Each entry is written twice: first as a tag of the registered model (`ilm.ledger.000012`), which all machines that share
a registry see and which is authoritative; then, the same bytes, as a line of `.ilm/ledger.jsonl`, which is this
project's copy. An entry holds the digest of the line before it, so an edited or lost one is noticed in either place; a
lost file is made again from the tags. A change of the aliases is framed by an `intent` before and an outcome after.
"""

import errno
import fcntl
import getpass
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from flows.lease import STATE
from flows.registry_store import Registry, Serving
from ilm.errors import ArtifactError, IlmError

FILE, LOCK = STATE / "ledger.jsonl", STATE / "registry.lock"
TAG = "ilm.ledger."
START = "0" * 64
"""Stands for the digest of the line before the first."""
MAX_REASON = 1000
"""Characters: MLflow keeps 5,000 of a tag."""
Kind = Literal["intent", "done", "undone", "found"]
Action = Literal["promote", "bootstrap", "rollback", "outside"]


class Entry(BaseModel):
    """One line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sequence: int
    time: AwareDatetime
    """UTC."""
    kind: Kind
    """`done` and `undone` end the intent before them; `found`: the aliases were not as the ledger had them."""
    action: Action
    before: Serving
    after: Serving
    """Of an intent: as it should become. Else: as the registry says."""
    actor: str
    """A person on a machine, or a flow."""
    because: Annotated[str, Field(max_length=MAX_REASON)]
    decision: str | None
    """SHA-256 of the gate's decision.json, which lies with the version's MLflow run; None: no gate was asked."""
    chain: str
    """SHA-256 of the line before."""


@dataclass(frozen=True)
class Ledger:
    """The ledger of a project and its registry."""

    project: Path
    registry: Registry

    def entries(self) -> list[Entry]:
        """All entries, oldest first, after this project's copy has been brought up to date.

        Raises:
            ArtifactError: an entry was edited or lost.
            IlmError: the copy cannot be written.
        """
        lines, path = self._registered(), self.project / FILE
        entries = _checked(lines, f"model '{self.registry.name}' in the registry")
        kept = read_lines(path)
        for number, (line, wanted) in enumerate(zip(kept, lines, strict=False)):
            if line != wanted:
                raise ArtifactError(
                    f"{path}: line {number + 1} is not what the registry has in tag {TAG}{number:06d}. One was edited, "
                    "or this is another registry. Compare them; if the registry is right, move the file away."
                )
        if len(kept) > len(lines):
            raise ArtifactError(
                f"{path}: {len(kept)} entries, but model '{self.registry.name}' in the registry has {len(lines)}: it "
                "was set back to an earlier state, or is another one. If it shall count, move the file away."
            )
        for line in lines[len(kept) :]:
            append_line(path, line)
        return entries

    def append(
        self,
        kind: Kind,
        action: Action,
        before: Serving,
        after: Serving,
        *,
        actor: str,
        because: str,
        decision: str | None,
    ) -> Entry:
        """Write an entry behind the last one, in the registry and then in the file. To be called under a claim."""
        lines = self._registered()
        entry = Entry(
            sequence=len(lines), time=datetime.now(UTC).replace(microsecond=0), kind=kind, action=action,
            before=before, after=after, actor=actor, because=because, decision=decision, chain=_chain(*lines[-1:]),
        )  # fmt: skip
        line = entry.model_dump_json()
        self.registry.set_tag(f"{TAG}{entry.sequence:06d}", line)
        append_line(self.project / FILE, line)
        return entry

    def _registered(self) -> list[str]:
        """The lines in the registry.

        Raises:
            ArtifactError: one is missing.
        """
        tags = {key: value for key, value in self.registry.tags().items() if key.startswith(TAG)}
        names = [f"{TAG}{number:06d}" for number in range(len(tags))]
        for name in names:
            if name not in tags:
                raise ArtifactError(
                    f"model '{self.registry.name}': tag {name} is gone from the registry. Set it to line "
                    f"{int(name.removeprefix(TAG)) + 1} of {self.project / FILE}, here or in another copy."
                )
        return [tags[name] for name in names]


@contextmanager
def locked(project: Path) -> Iterator[None]:
    """Only one command of a project at a time reads and writes ledger and aliases; a killed one leaves no lock.

    Raises:
        IlmError: the lock cannot be written.
    """
    try:
        (project / STATE).mkdir(exist_ok=True)
        lock = (project / LOCK).open("a")
    except OSError as error:
        raise IlmError(f"{project / LOCK}: cannot be written ({error.strerror}). Make room, or give access.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("registry  waiting for another command of this project", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read_lines(path: Path) -> list[str]:
    """The lines of a ledger file; none if it is not there. What a crash left of a last line is put into a file beside.

    Raises:
        ArtifactError: an entry was edited or lost.
    """
    if not path.is_file():
        return []
    content = path.read_bytes()
    whole, rest = content[: content.rfind(b"\n") + 1], content[content.rfind(b"\n") + 1 :]
    if rest:
        aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
        aside.write_bytes(rest)
        os.truncate(path, len(whole))
        print(f"ledger  the last line of {path} was not written to its end; what there was is in {aside}", flush=True)
    try:
        lines = whole.decode().split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}: damaged ({error}). Move it away: the registry has its entries, too.") from None
    _checked(lines, str(path))
    return lines


def append_line(path: Path, line: str) -> None:
    """Add a line and wait until the disk has it.

    Raises:
        IlmError: it cannot be written.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            if os.write(descriptor, whole := f"{line}\n".encode()) != len(whole):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # what was written of it is cut off next time
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise IlmError(f"{path}: cannot be written ({error.strerror}). Make room, or give access.") from error


def person() -> str:
    """Who runs this command, for the ledger."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _checked(lines: list[str], where: str) -> list[Entry]:
    """The entries behind the lines, if they are whole and follow one another."""
    entries = []
    for number, line in enumerate(lines):
        try:
            entry = Entry.model_validate_json(line)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise ArtifactError(f"{where}: ledger entry {number} is damaged ({said}). {_MEND}") from None
        if entry.sequence != number or entry.chain != _chain(*lines[max(number - 1, 0) : number]):
            raise ArtifactError(
                f"{where}: ledger entry {number} does not follow the one before: one was edited or lost. {_MEND}"
            )
        entries.append(entry)
    return entries


_MEND = "Of registry and file, move away or correct the one that is wrong."


def _chain(before: str | None = None) -> str:
    return START if before is None else hashlib.sha256(before.encode()).hexdigest()
