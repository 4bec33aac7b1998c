"""The Prefect flow itself, run as a user runs it; the fake project's steps are up to date, so it is about the flow."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tasks.process import identity
from tasks.tracking import Store
from tests.conftest import put_store
from tests.fake_project import run

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def flow_project(tmp_path_factory: pytest.TempPathFactory, finished_project: Path, empty_store: Path) -> Path:
    folder = tmp_path_factory.mktemp("flow") / "project"
    shutil.copytree(finished_project, folder, symlinks=True)
    put_store(empty_store, folder)
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("bootstrap_samples: 100", "bootstrap_samples: 200"))
    return folder


@pytest.fixture(scope="module")
def first(flow_project: Path, prefect_home: str) -> Done:
    """`ilm train --bootstrap`, with one setting of `evaluate` changed."""
    return run(flow_project, "ilm_command.py", "train", "--bootstrap")


@pytest.fixture(scope="module")
def again(flow_project: Path, first: Done) -> tuple[Done, bytes]:
    """`ilm train` once more, and dvc.lock before it."""
    lock = (flow_project / "dvc.lock").read_bytes()
    return run(flow_project, "ilm_command.py", "train"), lock


def test_flow_runs_only_what_changed_and_says_so(first: Done) -> None:
    assert first.returncode == 0, first.stderr
    assert "ingest  up to date\ncf  up to date\nevaluate  started\nevaluate  done in" in first.stdout


def test_flow_ends_with_table_report_champion_and_what_to_try(first: Done, flow_project: Path) -> None:
    end = first.stdout[first.stdout.index("Next item") :]
    for text in ("popularity", "NDCG@10", "0.2500", f"{flow_project}/reports/report.html", "champion  version 1"):
        assert text in end
    to_try = ["ilm recommend --user u -k 10", "ilm recommend --history A B -k 10", "ilm status"]
    assert [line.strip() for line in end.splitlines()[-3:]] == to_try


def test_flow_says_nothing_on_stderr_when_all_is_well(first: Done) -> None:
    assert first.stderr == ""


def test_steps_and_registration_of_a_flow_share_one_parent_run(first: Done, flow_project: Path) -> None:
    store = Store.open(flow_project)
    found = {found.data.tags["ilm.step"]: found for found in store.client.search_runs([store.experiment_id])}
    assert found.keys() == {"pipeline", "evaluate", "register"}
    parent = found["pipeline"].info.run_id
    assert all(found[name].data.tags["mlflow.parentRunId"] == parent for name in ("evaluate", "register"))


def test_second_run_does_no_work(again: tuple[Done, bytes], flow_project: Path) -> None:
    done, lock = again
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ingest  up to date\ncf  up to date\nevaluate  up to date\n")
    assert (flow_project / "dvc.lock").read_bytes() == lock
    assert len(Store.open(flow_project).client.search_model_versions("name = 'ilm'")) == 1


def test_dvc_repro_after_the_flow_does_no_work(again: tuple[Done, bytes], flow_project: Path) -> None:
    done = run(flow_project, "-m", "dvc", "repro")
    assert "Data and pipelines are up to date" in done.stdout
    assert (flow_project / "dvc.lock").read_bytes() == again[1]


def test_failing_step_ends_the_flow_with_its_message_and_no_traceback(finished: Path, prefect_home: str) -> None:
    (finished / "fail").touch()
    (finished / "data/raw/log.txt").write_text("new rows\n")
    done = run(finished, "ilm_command.py", "train")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: interactions.csv: row 7 has no user_id. Add it or drop the row.",
        "ERROR: failed to reproduce 'ingest': failed to run: python fake.py ingest, exited with 2",
        "error: step 'ingest' failed; its message is above. Mend the cause, then run `ilm train` again.",
    ]
    assert "cf" not in done.stdout


def test_prefect_servers_of_killed_flows_are_ended_and_others_are_not(prefect_home: str) -> None:
    from flows.train import _end_orphans

    host, pid, started = identity(psutil.Process()).rsplit("/", 2)
    owners = {"killed": f"{host}/{pid}/{float(started) - 9:.2f}", "alive": f"{host}/{pid}/{started}", "none": ""}
    command = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"]
    servers = {}
    for name, owner in owners.items():
        environment = os.environ | {"PREFECT__SERVER_EPHEMERAL": "1"} | ({"ILM_EXECUTION": owner} if owner else {})
        servers[name] = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        assert servers[name].stdout is not None
        servers[name].stdout.readline()
    try:
        _end_orphans()
        servers["killed"].wait(timeout=30)
        assert servers["alive"].poll() is None
        assert servers["none"].poll() is None
    finally:
        for server in servers.values():
            server.kill()
            server.communicate()
