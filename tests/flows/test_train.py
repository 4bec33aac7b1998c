"""The Prefect flow when something goes wrong; tests/end_to_end has it when all is well."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from tasks.process import identity
from tests.fake_project import run


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
    assert done.stdout == "train  starting Prefect\ningest  started\n", "no later step was tried"


def test_prefect_servers_of_killed_flows_are_ended_and_others_are_not(prefect_home: str) -> None:
    from flows.train import OWNER, _end_orphans

    host, pid, started = identity(psutil.Process()).rsplit("/", 2)
    owners = {"killed": f"{host}/{pid}/{float(started) - 9:.2f}", "alive": f"{host}/{pid}/{started}", "none": ""}
    command = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"]
    servers = {}
    for name, owner in owners.items():
        environment = os.environ | {"PREFECT__SERVER_EPHEMERAL": "1"} | ({OWNER: owner} if owner else {})
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
