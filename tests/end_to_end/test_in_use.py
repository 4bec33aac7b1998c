"""The true pipeline's champion in other people's hands: MLflow's own server, an exported folder, all users at once."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ilm import ItemLanguageModel
from tests.end_to_end.clone import ilm
from tests.fake_project import child_environment, wait_until

HISTORY = ["Heat (1995)", "Toy Story (1995)"]


def recommended(project: Path, *words: str) -> list[dict[str, Any]]:
    done = ilm(project, "recommend", "--history", *HISTORY, "-k", "5", "--json", *words)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@contextmanager
def mlflow_serving(project: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["models", "serve", "-m", "models:/ilm@champion", "--env-manager", "local", "--port", str(port)]
    variables = child_environment() | {"MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db"}
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words], cwd=project, env=variables, start_new_session=True
    )
    try:
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}/ping"), 120)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(address, timeout=5).status == 200
    except (urllib.error.URLError, OSError):
        return False


def posted(address: str, *rows: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    body = json.dumps({"dataframe_records": rows}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.slow
def test_mlflows_own_server_answers_as_the_command_line_does(trained: Path) -> None:
    user = pq.read_table(trained / "data/features/user_ids.parquet")["user_id"][0].as_py()
    with mlflow_serving(trained) as address:
        status, found = posted(address, {"user_id": user, "k": 1}, {"history": HISTORY, "k": 5})
        refused = posted(address, {"history": HISTORY}, {"user_id": "nobody"})
    assert status == 200
    assert [(row["rank"], row["item_id"]) for row in found["predictions"] if row["row"] == 1] == [
        (row["rank"], row["item_id"]) for row in recommended(trained)
    ]
    assert refused[0] == 400
    assert "row 1: user 'nobody' is not among the" in refused[1]["message"]
    assert "Traceback" not in json.dumps(refused[1])


def test_an_exported_champion_answers_as_the_registered_one(trained: Path, tmp_path: Path) -> None:
    done = ilm(trained, "export", str(tmp_path / "model"))
    assert done.returncode == 0, done.stderr
    assert recommended(trained, "--model", str(tmp_path / "model")) == recommended(trained)
    card = (tmp_path / "model/README.md").read_text()
    assert "GroupLens" in card
    assert "| git.commit |" in card
    assert "95 % intervals" in card
    assert ItemLanguageModel.from_pretrained(tmp_path / "model").rank(history=HISTORY, k=1)


def test_all_users_are_recommended_to_at_once(trained: Path, tmp_path: Path) -> None:
    done = ilm(trained, "recommend", "--all-users", "-k", "3", "--out", str(tmp_path / "recs.parquet"))
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(tmp_path / "recs.parquet")
    users = pq.read_table(trained / "data/features/user_ids.parquet").num_rows
    assert rows.num_rows == 3 * users
    assert len(set(rows["user_id"].to_pylist())) == users
