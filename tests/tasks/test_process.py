"""What a step does when the processes around it are killed. Real processes, real signals."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from ilm.files import digest
from tasks.process import has_ended, identity
from tasks.tracking import Store
from tests.fake_project import run, start, step_process, wait_for_end

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")

OUTPUTS = ("data/features/cf.safetensors", "data/features/catalogue.parquet", "data/models/ilm")


@pytest.fixture
def paused(finished: Path) -> Path:
    """The finished project with step `cf` out of date, and pausing in its middle while the file `pause` exists."""
    (finished / "params.yaml").write_text((finished / "params.yaml").read_text().replace("factors: 2", "factors: 3"))
    (finished / "pause").touch()
    return finished


def test_step_dies_with_the_dvc_that_started_it(paused: Path) -> None:
    dvc = start(paused, "-m", "dvc", "repro", "cf")
    step = step_process(dvc, "cf", paused / OUTPUTS[0])
    os.kill(dvc.pid, signal.SIGKILL)
    dvc.wait()
    wait_for_end(step)


def test_step_dies_with_dvc_though_a_shell_stays_between_them(paused: Path) -> None:
    graph = (paused / "dvc.yaml").read_text()
    (paused / "dvc.yaml").write_text(graph.replace("cmd: python fake.py cf", "cmd: python fake.py cf; true"))
    dvc = start(paused, "-m", "dvc", "repro", "cf")
    step = step_process(dvc, "cf", paused / OUTPUTS[0])
    assert step.ppid() != dvc.pid
    os.kill(dvc.pid, signal.SIGKILL)
    dvc.wait()
    wait_for_end(step)


def test_step_whose_dvc_is_gone_does_not_start(finished: Path) -> None:
    done = run(finished, "fake.py", "cf", DVC_STAGE="cf")
    assert done.returncode == 2
    assert "the `dvc` that started this step has ended" in done.stderr


def test_killed_step_looks_unfinished_and_a_rerun_ends_as_an_undisturbed_run(finished: Path) -> None:
    undisturbed = {path: digest(finished / path) for path in OUTPUTS}
    again = ("-m", "dvc", "repro", "--force", "--single-item", "cf")  # or DVC would bring the outputs from its cache
    (finished / "pause").touch()
    dvc = start(finished, *again)
    step = step_process(dvc, "cf", finished / OUTPUTS[0])
    assert (finished / OUTPUTS[0]).read_text() in ("half", "")
    step.kill()
    assert dvc.wait() != 0
    assert not (finished / "reports/cost/cf.json").exists()
    assert "cf" in run(finished, "-m", "dvc", "status").stdout

    (finished / "pause").unlink()
    assert "cf  done in" in run(finished, *again).stdout
    assert {path: digest(finished / path) for path in OUTPUTS} == undisturbed
    store = Store.open(finished)
    statuses = [
        found.info.status for found in store.client.search_runs([store.experiment_id], "tags.`ilm.step` = 'cf'")
    ]
    assert sorted(statuses) == ["FINISHED", "KILLED"]


def test_only_this_very_process_counts_as_alive() -> None:
    alive = identity(psutil.Process())
    host, pid, started = alive.rsplit("/", 2)
    assert not has_ended(alive)
    assert has_ended(f"{host}/{pid}/{float(started) - 1:.2f}"), "the id was given to another process"
    assert not has_ended(f"elsewhere/{pid}/1.00"), "nothing is known about another machine"
    assert not has_ended("")


def test_peak_memory_counts_what_was_freed_again_and_not_what_the_parent_had() -> None:
    block = b"x" * 2**28
    code = "from tasks.process import peak_memory_mb; block = b'x' * 2**27; del block; print(peak_memory_mb())"
    assert 128 < float(run(Path.cwd(), "-c", code).stdout) < 256
    del block
