"""Log files arrive, and a scheduler retrains by itself: the true steps and gate, and an alert whose URL has a token."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.end_to_end.clone import change_setting, clone_working_tree, ilm
from tests.end_to_end.test_retrain import drop_logs
from tests.fake_project import git, wait_until
from tests.tiny import save_language_model, save_text_encoder

TOKEN = f"hooks-token-{4800 + 15}"
"""Not as it is written here: this file is in the clone."""


@pytest.fixture
def told() -> Iterator[tuple[str, list[bytes]]]:
    """Address of a webhook, with a token in it, and what it has been told."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/{TOKEN}", bodies
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_files_that_arrive_are_retrained_judged_and_told_and_the_token_is_nowhere(
    tmp_path: Path, told: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = str(save_language_model(tmp_path / "models/llm")), str(save_text_encoder(tmp_path / "models/bert"))
    home = clone_working_tree(tmp_path / "project", *names)
    change_setting(home, "split", "strategy", "global_time")
    change_setting(home, "retrain", "min_new_interactions", 100)
    change_setting(home, "data", "settle_seconds", 1)
    git(home, "commit", "--quiet", "--all", "--message", "settings of the test")
    done = ilm(home, "train", "--bootstrap")
    assert done.returncode == 0, done.stdout + done.stderr

    address, events = told
    monkeypatch.setenv("ILM_ALERT_URL", address)
    monkeypatch.setenv("PYTHONPATH", str(home))
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "ILM_ALERT_COMMAND"):
        monkeypatch.delenv(name, raising=False)
    assert ilm(home, "schedule", "--on-arrival").returncode == 0
    with (tmp_path / "log.txt").open("wb") as log:
        words = [sys.executable, "-m", "flows.cli", "schedule", "--run"]
        scheduler = subprocess.Popen(words, cwd=home, stdout=log, stderr=log)
    try:
        wait_until(lambda: "alerts     ILM_ALERT_URL" in ilm(home, "schedule", "--status").stdout, 180)
        drop_logs(home)
        wait_until(lambda: bool(events) or scheduler.poll() is not None, 900)
        looked = ilm(home, "schedule", "--status")
        assert looked.returncode == 0, looked.stdout
    finally:
        scheduler.terminate()
        scheduler.wait(120)

    (body,) = events
    event = json.loads(body)
    record = json.loads(next((home / ".ilm/runs").glob("*/run.json")).read_text())
    assert event["event"] in ("promoted", "refused", "underpowered"), event
    assert (event["run"], event["version"], event["reasons"]) == (record["run"], "2", record["reasons"])
    assert record["new_interactions"] > 100
    files = [file for folder in (home, tmp_path / "log.txt") for file in [folder, *folder.rglob("*")] if file.is_file()]
    assert len(files) > 100
    assert [file for file in files if TOKEN.encode() in file.read_bytes()] == []
