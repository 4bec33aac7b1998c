"""A run that is killed between any two of its writes, a full disk, one that cannot be written: the next run goes on."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fake_project import ROOT, run
from tests.log_drops import Drops, event

OLD = [event(time=f"2024-05-0{day}T10:00:00") for day in (1, 2, 3)]
NEW = [event("u2", time=f"2024-05-0{day}T10:00:00") for day in (2, 3, 4)] + [event("")]


class Killed(BaseException):
    """As little as a signal does it pass for an error."""


@pytest.fixture
def drops(tmp_path: Path) -> Drops:
    """A store that knows OLD, and a file with NEW."""
    made = Drops(tmp_path / "drops")
    made.drop("a.csv", OLD)
    made.update()
    made.drop("b.csv", NEW)
    return made


@pytest.fixture
def undisturbed(tmp_path: Path) -> dict[str, bytes]:
    """The store that both files give."""
    clean = Drops(tmp_path / "clean")
    clean.drop("a.csv", OLD)
    clean.drop("b.csv", NEW)
    clean.update()
    return clean.bytes()


def killed(drops: Drops, after: int) -> int:
    """Update, killed after so many files are in, or out of, their place. Gives how many there were."""
    written = 0

    def counted(write: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **options: Any) -> None:
            nonlocal written
            write(*arguments, **options)
            written += 1
            if written == after:
                raise Killed

        return act

    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "unlink"):
            patch.setattr(os, name, counted(getattr(os, name)))
        try:
            drops.update()
        except Killed:
            return written
    return 0


def test_a_run_killed_after_any_of_its_writes_is_continued_to_the_same_bytes(
    drops: Drops, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    before, after = drops.bytes(), 1
    while killed(drops, after):
        updated = drops.update()
        assert updated.rebuilt is None, "the old state, or the new one, was whole"
        assert drops.bytes() == undisturbed
        (drops.logs / "b.csv").unlink()
        drops.update()
        assert drops.bytes() == before
        drops.drop("b.csv", NEW)
        after += 1
    assert after > 10, "tables, partitions, the manifest, and what no longer counts"


@pytest.mark.parametrize("after", [4, 9])
def test_a_process_killed_in_the_middle_of_rewriting_partitions_leaves_nothing_that_counts(
    drops: Drops, undisturbed: dict[str, bytes], after: int
) -> None:
    done = run(ROOT, "-c", _DIES, str(drops.root), str(after))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name for path in drops.root.glob(".store.*")], "it was in the middle"

    assert drops.update().rebuilt is None

    assert drops.bytes() == undisturbed
    assert not list(drops.root.glob(".store.*"))


_DIES = """
import os, signal, sys
from pathlib import Path
from tests.log_drops import Drops

replace, done = os.replace, []

def dying(*arguments):
    replace(*arguments)
    done.append(arguments)
    if len(done) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = dying
Drops(Path(sys.argv[1])).update()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mounts as Linux has them")
def test_a_full_or_read_only_disk_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        pytest.skip("only root may mount")
    script = 'mount -t tmpfs -o size=2m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    words = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, _NO_ROOM]

    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["No space left on device", "Read-only file system", "4 rows"]


_NO_ROOM = """
import subprocess, sys
from pathlib import Path
from polars.exceptions import ComputeError
from tests.log_drops import Drops, event

disk = Path(sys.argv[1])
drops = Drops(disk)
drops.drop("a.csv", [event()])
drops.update()
before = drops.bytes()
drops.drop("b.csv", [event("u2", time=f"2024-05-0{day}T10:00:00") for day in (1, 2, 3)])

def refused(reason):
    try:
        drops.update()
    except (OSError, ComputeError) as error:  # the latter is how polars says it now and then
        assert reason in str(error), error
    else:
        raise AssertionError("there was room")
    assert drops.bytes() == before
    assert not list(disk.glob(".store.*"))
    print(reason)

full = disk / "full"
try:
    with full.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
except OSError:
    refused("No space left on device")
full.unlink()
subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
refused("Read-only file system")
subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
print(len(drops.merged(drops.update())[0]), "rows")
"""
