"""Kill -9 of scheduler, server and flow in the middle of a retrain, cancel, outage: what is left, and then."""

import shutil
import signal
import sys
from pathlib import Path

import pytest
from prefect.client.schemas.filters import FlowRunFilter

from flows import schedule
from flows.lease import holder
from flows.scheduler import FILE, Alive
from flows.scheduler_prefect import connected
from flows.scheduler_server import HOME, Server
from tests.fake_project import wait_until
from tests.scheduled_project import Running, drop, events, looks_on, processes, states, status, the, until_cf

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")


@pytest.fixture
def home(scheduled: Path) -> Path:
    return scheduled


@pytest.mark.slow
def test_killed_flow_is_marked_told_and_made_up_for_once(home: Path) -> None:
    running = until_cf(home)
    assert status(home).returncode == 0
    the(home, "prefect.engine").kill()
    running.wait_for("cf  started", times=2)
    assert events(home) == ["failed"]
    the(home, "prefect.engine").kill()
    running.wait_for("schedule  the process of the retrain ended with exit code -9", times=2)
    wait_until(lambda: events(home) == ["failed", "failed"])
    assert states(home) == ["Crashed", "Crashed"]
    assert holder(home) is None
    assert not any("fake.py" in process.cmdline() for process in processes(home))
    looks_on(running)
    assert states(home) == ["Crashed", "Crashed"], "of the same files it is not tried for ever"
    assert running.stop() == 0
    assert processes(home) == []


@pytest.mark.slow
def test_killed_scheduler_leaves_no_process_and_its_run_is_made_up_for(home: Path) -> None:
    killed = until_cf(home)
    assert status(home).returncode == 0
    killed.stop(signal.SIGKILL)
    wait_until(lambda: processes(home) == [] and holder(home) is None)
    looked = status(home)
    assert looked.returncode == 1
    assert "nothing follows the schedule. Start `ilm schedule --run`" in looked.stdout
    (home.parent / "pause/cf").unlink()
    again = Running(home)
    again.wait_for("schedule  Refused: ")
    assert "which was cut short" in again.printed
    assert "ingest  started" not in again.printed, "finished stages come from the cache"
    assert states(home) == ["Crashed", "Refused"]
    assert events(home) == ["failed", "refused"]
    assert again.stop() == 0


@pytest.mark.slow
def test_killed_server_is_started_again_and_the_run_comes_to_its_end(home: Path) -> None:
    running = until_cf(home)
    engine = the(home, "prefect.engine")
    the(home, "server").kill()
    running.wait_for("schedule  the Prefect server has ended; it is started again")
    running.wait_for("schedule  works", times=2)
    assert engine.is_running()
    (home.parent / "pause/cf").unlink()
    running.wait_for("schedule  Refused: ")
    assert states(home) == ["Refused"]
    assert events(home) == ["refused"]
    assert running.stop() == 0


@pytest.mark.slow
def test_stopped_scheduler_cleans_up_and_makes_up_for_the_run_at_its_next_start(home: Path) -> None:
    stopped = until_cf(home)
    assert stopped.stop() == 0
    assert processes(home) == []
    assert holder(home) is None
    assert list((home / ".ilm/worktrees").iterdir()) == []
    assert states(home) == ["Crashed"]
    assert events(home) == [], "somebody wished it"
    (home.parent / "pause/cf").unlink()
    again = Running(home)
    again.wait_for("schedule  Refused: ")
    assert again.stop() == 0
    assert states(home) == ["Crashed", "Refused"]


@pytest.mark.slow
def test_run_cancelled_in_prefect_leaves_no_process_and_is_not_tried_again(home: Path) -> None:
    from prefect.states import Cancelling

    running = until_cf(home)
    alive = Alive.model_validate_json((home / FILE).read_bytes())
    with connected(alive.address) as client:
        (under_way,) = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING"]}}})
        )
        client.set_flow_run_state(under_way.id, Cancelling())
    running.wait_for("schedule  Cancelled")
    assert holder(home) is None
    assert list((home / ".ilm/worktrees").iterdir()) == []
    looks_on(running)
    assert states(home) == ["Cancelled"]
    assert events(home) == [], "somebody wished it"
    assert running.stop() == 0
    assert processes(home) == []


@pytest.mark.slow
def test_run_outlives_an_outage_of_a_server_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = home.parent / "elsewhere"
    shutil.copytree(home / HOME, elsewhere / HOME)
    server = Server(elsewhere, {})
    try:
        wait_until(server.keep_up, 180)
        monkeypatch.setenv("PREFECT_API_URL", server.address)
        running = until_cf(home)
        server.stop()
        running.wait_for("schedule  ConnectError: ")
        looked = status(home)
        assert looked.returncode == 1
        assert "does not answer" in looked.stdout
        wait_until(server.keep_up, 180)
        running.wait_for("schedule  works", times=2)
        (home.parent / "pause/cf").unlink()
        running.wait_for("schedule  Refused: ")
        assert states(elsewhere) == ["Refused"]
        assert running.stop() == 0
    finally:
        server.stop()


@pytest.mark.slow
def test_flow_whose_code_is_broken_is_told_and_does_not_end_the_scheduler(home: Path) -> None:
    (home.parent / "fakes/sitecustomize.py").write_text("import sys\nsys.modules['flows.retrain_flow'] = None\n")
    schedule.want(home, on_arrival=True)
    drop(home)
    running = Running(home)
    running.wait_for("schedule  the process of the retrain ended with exit code 1", times=2)
    wait_until(lambda: events(home) == ["failed", "failed"])
    looks_on(running)
    assert states(home) == ["Crashed", "Crashed"]
    assert running.stop() == 0
