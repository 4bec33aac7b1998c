"""A retrain that is killed, cancelled, or finds no room. Real processes, real signals, real mounts."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.lease import FILE, holder
from tests.conftest import put_store
from tests.fake_project import git, run, start, wait_until
from tests.fake_retrain import make_retrain_project

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")

RETRAIN = ("ilm_command.py", "retrain")


@pytest.fixture
def home(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, of which nothing was ever run; whatever is run in it bears this test's PAUSE in its environment."""
    folder = make_retrain_project(tmp_path / "home")
    put_store(empty_store, folder)
    (tmp_path / "pause").mkdir()
    monkeypatch.setenv("PAUSE", str(tmp_path / "pause"))
    monkeypatch.setenv("GATE_SAYS", "refuse")
    return folder


def processes(home: Path) -> list[psutil.Process]:
    """All living processes, on the whole machine, that a retrain of this project has started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PAUSE") == str(home.parent / "pause") and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:  # another user's, or gone
            continue
    return found


def retrain_until(home: Path, place: str) -> "subprocess.Popen[bytes]":
    """A retrain that has come to step `cf`, or to the gate, and stays there."""
    (home.parent / "pause" / place).touch()
    retrain = start(home, *RETRAIN)
    assert retrain.stdout is not None
    sign = {"cf": b"cf  started\n", "gate": b"judged\n"}[place]
    for line in retrain.stdout:
        if line == sign:
            break
    else:
        pytest.fail("it ended before it came there")
    if place == "cf":
        wait_until(lambda: any((home / ".ilm/worktrees").glob("*/data/features/cf.safetensors")))
    return retrain


def assert_untouched(home: Path) -> None:
    assert git(home, "status", "--porcelain") == ""
    assert not (home / "data/interim").exists()


@pytest.mark.parametrize("place", ["cf", pytest.param("gate", marks=pytest.mark.slow)])
def test_killed_retrain_leaves_no_process_and_holds_nobody_up(home: Path, place: str) -> None:
    retrain = retrain_until(home, place)
    second = run(home, *RETRAIN)
    assert second.returncode == 2
    assert f"a retrain is under way: `ilm retrain`, process {retrain.pid} on" in second.stderr

    retrain.kill()  # and nobody reaps it yet
    wait_until(lambda: processes(home) == [] and holder(home) is None)
    assert_untouched(home)

    (home.parent / "pause" / place).unlink()
    done = run(home, *RETRAIN)
    retrain.communicate()
    assert done.returncode == 0, done.stderr
    assert ", which was cut short" in done.stdout
    assert "ingest  started" not in done.stdout, "it goes on where the other was"
    assert ("cf  started" in done.stdout) == (place == "cf")
    assert "register  version" not in done.stdout or place == "cf", "the same model is registered once"
    assert list((home / ".ilm/worktrees").iterdir()) == []
    assert_untouched(home)


def test_cancelled_retrain_cleans_up(home: Path) -> None:
    retrain = retrain_until(home, "cf")
    retrain.terminate()
    retrain.communicate(timeout=60)
    assert retrain.returncode == 130
    assert processes(home) == []
    assert not (home / FILE).exists()
    assert list((home / ".ilm/worktrees").iterdir()) == []
    assert_untouched(home)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["fake.py", "flows.dvc_child"])
def test_killed_stage_ends_the_retrain_with_a_message_and_nothing_left(home: Path, who: str) -> None:
    retrain = retrain_until(home, "cf")
    (stage,) = (process for process in processes(home) if who in process.cmdline()[:3] and "cf" in process.cmdline())
    stage.kill()
    retrain.communicate(timeout=60)
    assert retrain.returncode == 2
    wait_until(lambda: processes(home) == [])
    assert not (home / FILE).exists()
    assert list((home / ".ilm/worktrees").iterdir()) == []
    assert_untouched(home)


@pytest.mark.slow
def test_frozen_retrain_is_not_waited_for_beyond_its_lease(home: Path) -> None:
    """Its heartbeat stands still for so long as the lease lasts: the test sets the time that it was last heard of."""
    retrain = retrain_until(home, "cf")
    retrain.send_signal(signal.SIGSTOP)
    wait_until(lambda: psutil.Process(retrain.pid).status() == psutil.STATUS_STOPPED)
    held = holder(home)
    assert held is not None
    (home / FILE).write_text(held.model_copy(update={"beat": held.beat - 120}).model_dump_json())
    (home.parent / "pause/cf").unlink()
    done = run(home, *RETRAIN)
    assert done.returncode == 0, done.stderr
    references = git(home, "for-each-ref")
    retrain.send_signal(signal.SIGCONT)
    retrain.communicate(timeout=60)
    assert retrain.returncode == 2
    assert git(home, "for-each-ref") == references, "it wrote nothing any more"
    wait_until(lambda: processes(home) == [])


def in_own_mounts(home: Path, *mounts: str) -> "subprocess.CompletedProcess[str]":
    """A retrain before whose start the mounts are made, for it alone."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        pytest.skip("only root may mount")
    words = " ".join(["exec", sys.executable, *RETRAIN])
    script = " && ".join([*(f"mount {mount}" for mount in mounts), words])
    return subprocess.run(["unshare", "--mount", "sh", "-c", script], cwd=home, capture_output=True, text=True)


def test_cache_that_cannot_be_written_is_said_before_any_work(home: Path) -> None:
    (home / ".dvc/cache").mkdir()
    done = in_own_mounts(home, "--bind .dvc/cache .dvc/cache", "-o remount,bind,ro .dvc/cache")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {home.resolve()}/.dvc/cache: DVC's cache cannot be written to, so no step could keep its result. "
        "Give access.\n"
    )
    assert "started" not in done.stdout
    assert not (home / FILE).exists()
    assert_untouched(home)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "size"),
    [(".ilm/worktrees", "12k"), (".ilm/worktrees", "600k"), (".ilm/worktrees", "900k"), (".dvc/cache", "400k")],
)
def test_full_disk_ends_it_with_a_message_and_it_goes_on_when_there_is_room(home: Path, place: str, size: str) -> None:
    (home / "data/raw/log.txt").write_text("\n".join(os.urandom(16).hex() for _ in range(20_000)))
    (home / place).mkdir(parents=True)
    full = in_own_mounts(home, f"-t tmpfs -o size={size} tmpfs {place}")
    assert full.returncode == 2
    assert re.search("No space left on device|disk is full|unable to write", full.stderr), full.stderr
    assert "Traceback" not in full.stderr
    assert not (home / FILE).exists()
    assert git(home, "status", "--porcelain").strip() == "M data/raw/log.txt"
    done = run(home, *RETRAIN)
    assert done.returncode == 0, done.stderr
    assert "refuse" in done.stdout


@pytest.mark.slow
def test_worktree_of_a_retrain_whose_folder_was_deleted_is_no_obstacle(home: Path) -> None:
    retrain = retrain_until(home, "cf")
    retrain.kill()
    retrain.communicate()
    wait_until(lambda: processes(home) == [])
    shutil.rmtree(home / ".ilm")
    (home.parent / "pause/cf").unlink()
    assert run(home, *RETRAIN).returncode == 0
