"""The true pipeline's champion in other people's hands: MLflow's own server, an exported folder, all users at once."""

import json
import os
import re
import shlex
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
import yaml

from ilm.files import digest, read_json
from tests.end_to_end.clone import ilm
from tests.fake_project import ROOT, child_environment, wait_until
from tests.pages import bash_blocks

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
    (words,) = lines("export.md", "mlflow")
    words = [*words[1:-1], str(port)]
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
    (request,) = lines("export.md", "curl")
    with mlflow_serving(trained) as address:
        on_page = json.loads(request[-1])["dataframe_records"]
        assert posted(address, *[row | {"user_id": user} if "user_id" in row else row for row in on_page])[0] == 200
        status, found = posted(address, {"user_id": user, "k": 1}, {"history": HISTORY, "k": 5})
        refused = posted(address, {"history": HISTORY}, {"user_id": "nobody"})
    assert status == 200
    assert [(row["rank"], row["item_id"]) for row in found["predictions"] if row["row"] == 1] == [
        (row["rank"], row["item_id"]) for row in recommended(trained)
    ]
    assert refused[0] == 400
    assert "row 1: user 'nobody' is not among the" in refused[1]["message"]
    assert "Traceback" not in json.dumps(refused[1])


@pytest.mark.slow
def test_what_the_page_exports_answers_as_the_registered_champion(trained: Path, tmp_path: Path) -> None:
    whole, small = (run_on_page(trained, words, tmp_path) for words in lines("export.md", "ilm"))
    assert recommended(trained, "--model", str(whole)) == recommended(trained, "--model", str(small))
    assert recommended(trained, "--model", str(whole)) == recommended(trained)
    card = (whole / "README.md").read_text()
    for words in ("GroupLens", "| git.commit |", "95 % intervals", "| version | `1` |", "paired by user"):
        assert words in card
    origin = read_json(whole / "origin.json")
    assert origin["tags"]["dvc.lock.sha256"] == digest(trained / "dvc.lock")
    assert origin["settings"]["cf"] == yaml.safe_load((trained / "params.yaml").read_text())["cf"]
    assert "data" not in origin["settings"]
    (example,) = re.findall(r"^```python\n(.*?)^```", page("export.md"), re.MULTILINE | re.DOTALL)
    exec(example.replace('"."', repr(str(whole))), {})


def test_all_users_are_recommended_to_at_once_as_on_the_page(trained: Path, tmp_path: Path) -> None:
    (words,) = lines("batch.md", "ilm")
    rows = pq.read_table(run_on_page(trained, words, tmp_path))
    users = pq.read_table(trained / "data/features/user_ids.parquet").num_rows
    assert len(set(rows["user_id"].to_pylist())) == users
    assert rows.num_rows <= 50 * users
    assert set(rows["rank"].to_pylist()) == set(range(1, 51))


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def lines(name: str, program: str) -> list[list[str]]:
    """The commands of a page that begin with this program, as words."""
    blocks = bash_blocks(ROOT / "docs" / name)
    found = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [words for words in found if words[0] == program]


def run_on_page(project: Path, words: list[str], folder: Path) -> Path:
    """Run a command of a page; what it makes, the word without a dash behind `export` or `--out`, lies in `folder`."""
    place = words.index("--out" if "--out" in words else "export") + 1
    made = folder / words[place]
    done = ilm(project, *words[1:place], str(made), *words[place + 1 :])
    assert done.returncode == 0, done.stderr
    return made
