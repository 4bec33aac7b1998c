"""docs/team.md as its readers would follow it: PostgreSQL, S3, MLflow, Prefect on loopback, two machines' folders."""

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex

import pytest

from tests.fake_project import ROOT, run, wait_until
from tests.pages import bash_blocks
from tests.servers import free_port, postgresql, s3

pytestmark = pytest.mark.slow

BLOCKS = bash_blocks(ROOT / "docs/team.md")
SECRET = token_hex(16)


def filled(block: str, places: dict[str, str]) -> str:
    """A block of the page with our addresses in the places of its examples."""
    for example, ours in places.items():
        block = block.replace(example, ours)
    assert "example.org" not in block and "…" not in block, block
    return block


@contextmanager
def running(script: str, folder: Path, health: str) -> Iterator[None]:
    """A server that a block starts, until the end."""
    words = ["bash", "-c", f"{script.rstrip()} > {folder.name}.log 2>&1"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "HOME": str(folder), "PREFECT_HOME": str(folder)}
    folder.mkdir()
    server = subprocess.Popen(words, cwd=folder, env=environment, start_new_session=True)

    def answers() -> bool:
        try:
            return bool(urllib.request.urlopen(health, timeout=5).status == 200)
        except OSError:
            return False

    try:
        wait_until(answers, 120)
        yield
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def test_two_machines_share_registry_files_and_server(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = free_port(), free_port()
    mlflow, prefect = (f"http://127.0.0.1:{port}" for port in ports)
    with ExitStack() as stack:
        bucket, database = stack.enter_context(s3(monkeypatch)), stack.enter_context(postgresql())
        socket = database.partition("host=")[2]
        subprocess.run([shutil.which("psql") or "psql", "-h", socket, "-U", "ilm", "-d", "postgres", "-c",
                        "CREATE DATABASE prefect"], check=True, capture_output=True)  # fmt: skip
        places = {
            "AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…": f"AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY={SECRET}",
            "https://s3.example.org": bucket,
            "postgresql://ilm:…@db.example.org/mlflow": database,
            "postgresql+asyncpg://ilm:…@db.example.org/prefect": f"postgresql+asyncpg://ilm@/prefect?host={socket}",
            "'team:…'": f"'team:{SECRET}'",
            "--port 5000": f"--port {ports[0]}",
            "--port 4200": f"--port {ports[1]}",
            "https://mlflow.example.org": mlflow,
            "https://prefect.example.org": prefect,
        }
        servers, schedules, machine, once, push = (filled(block, places) for block in BLOCKS)
        assert push.startswith("ilm checkout champion ../version && (cd ../version && dvc push)")
        stack.enter_context(running(servers, tmp_path / "mlflow", f"{mlflow}/health"))
        stack.enter_context(running(schedules, tmp_path / "prefect", f"{prefect}/api/health"))
        for name, value in re.findall(r"(\w+)='?([^\s']+)", "\n".join(re.findall(r"export ([^#\n]*)", machine))):
            monkeypatch.setenv(name, value)

        first, second = tmp_path / "first", tmp_path / "second"
        shutil.copytree(trained, first, symlinks=True)
        (first / ".ilm/ledger.jsonl").unlink()  # of its own registry
        done = subprocess.run(["bash", "-ec", once], cwd=first, env=with_path(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for words in (("train", "--bootstrap"), ("status",)):
            said = ilm(first, *words)
            assert said.returncode == 0, said.stdout + said.stderr
        assert ilm(first, "checkout", "champion", str(tmp_path / "version")).returncode == 0
        pushed = subprocess.run(
            ["dvc", "push"], cwd=tmp_path / "version", env=with_path(), capture_output=True, text=True
        )
        assert pushed.returncode == 0, pushed.stderr

        subprocess.run(["git", "clone", "--quiet", str(first), str(second)], check=True)
        brought = ilm(second, "checkout", "champion", str(tmp_path / "there"))
        assert brought.returncode == 0, brought.stdout + brought.stderr
        recommended = ilm(second, "recommend", "--user", "19", "-k", "3")
        assert recommended.returncode == 0, recommended.stderr
        assert recommended.stdout == ilm(first, "recommend", "--user", "19", "-k", "3").stdout
        assert not (second / "mlflow.db").exists()
    for path in [*first.rglob("*"), *second.rglob("*"), *(tmp_path / "there").rglob("*")]:
        if path.is_file() and ".git/" not in str(path):
            assert SECRET.encode() not in path.read_bytes(), f"{path} holds a secret"


def ilm(project: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """The command line, with the address of the registry."""
    address = os.environ["MLFLOW_TRACKING_URI"]
    return run(project, "-m", "flows.cli", *words, PYTHONPATH=str(project), MLFLOW_TRACKING_URI=address)


def with_path() -> dict[str, str]:
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
