import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows import stages
from ilm.errors import IlmError
from tests.fake_project import start, step_process, wait_for_end


def test_stage_runs_once_and_is_then_up_to_date_though_no_environment_is_active(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert stages.run_stage("ingest", project) is True
    assert stages.run_stage("ingest", project) is False


def test_failing_stage_names_itself_and_leaves_its_own_message_to_the_terminal(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (project / "fail").touch()
    with pytest.raises(IlmError, match="step 'ingest' failed"):
        stages.run_stage("ingest", project)
    assert "error: interactions.csv: row 7 has no user_id" in capfd.readouterr().err


def test_what_dvc_itself_complains_of_is_shown(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(IlmError, match="step 'cf' failed"):
        stages.run_stage("cf", project)
    assert "data/interim/interactions.parquet" in capfd.readouterr().err


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL])
def test_step_dies_with_whoever_ran_the_stage(finished: Path, number: signal.Signals) -> None:
    (finished / "params.yaml").write_text((finished / "params.yaml").read_text().replace("factors: 2", "factors: 3"))
    (finished / "pause").touch()
    code = "from pathlib import Path; from flows.stages import run_stage; run_stage('cf', Path.cwd())"
    runner = start(finished, "-c", f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {code}")
    step = step_process(runner, "cf", finished / "data/features/cf.safetensors")
    os.kill(runner.pid, number)
    runner.wait(timeout=30)
    wait_for_end(step)
    (finished / "pause").unlink()
    assert stages.run_stage("cf", finished) is True, "nothing is locked"


def test_zombie_of_a_killed_run_holds_no_lock(finished: Path) -> None:
    (finished / "params.yaml").write_text((finished / "params.yaml").read_text().replace("factors: 2", "factors: 3"))
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    while psutil.Process(zombie.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    info = {"pid": zombie.pid, "cmd": "repro cf"}
    lock = {"read": {}, "write": {str(finished / "data/features/cf.safetensors"): info}}
    (finished / ".dvc/tmp/rwlock").write_text(json.dumps(lock))
    assert stages.run_stage("cf", finished) is True
    zombie.wait()
