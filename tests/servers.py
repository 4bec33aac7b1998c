"""Servers that tests start on loopback: PostgreSQL, MLflow in front of a database, S3. Each ends with its block."""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import pytest

from tests.fake_project import wait_until

STARTUP_SECONDS = 120.0


@contextmanager
def postgresql() -> Iterator[str]:
    """Address of an empty database on a server of its own, without TCP. Skips where that cannot be."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    binary = shutil.which("initdb") or (str(found[-1]) if found else None)
    if binary is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("psycopg2 is not installed (psycopg2-binary)")
    user = None
    if os.geteuid() == 0:  # which PostgreSQL refuses
        if not any(entry.pw_name == "postgres" for entry in pwd.getpwall()):
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        user = "postgres"
    folder = Path(tempfile.mkdtemp(prefix="ilm-pg-", dir="/tmp"))  # a socket's path must be short
    if user:
        shutil.chown(folder, user, user)
    bin_folder, data = Path(os.path.realpath(binary)).parent, folder / "data"
    options = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        words = [bin_folder / "initdb", "-D", data, "-U", "ilm", "--auth=trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(words, check=True, **options)  # type: ignore[call-overload]
        settings = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
        server = subprocess.Popen([bin_folder / "postgres", "-D", data, *settings], **options)  # type: ignore[call-overload]
        try:
            ready = [str(bin_folder / "pg_isready"), "-h", str(folder), "-U", "ilm"]
            wait_until(lambda: subprocess.run(ready, capture_output=True).returncode == 0, STARTUP_SECONDS)
            yield f"postgresql://ilm@/postgres?host={folder}"
        finally:
            server.terminate()
            server.wait()
    finally:
        shutil.rmtree(folder)


@contextmanager
def mlflow_server(database: str, artifacts: Path) -> Iterator[str]:
    """Address of an MLflow server that keeps its state in `database`."""
    from tasks.environment import SWITCHES

    port = free_port()
    words = ["--backend-store-uri", database, "--artifacts-destination", str(artifacts), "--workers", "1"]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *words, "--host", "127.0.0.1", "--port", str(port)],
        env=os.environ | SWITCHES,
        cwd=artifacts.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(f"{address}/health"), STARTUP_SECONDS)
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait()


@contextmanager
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of an S3 server with the bucket `models`; credentials are in the environment."""
    for module in ("moto", "flask", "dvc_s3"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed (moto[server], dvc-s3)")
    import boto3
    from moto.server import ThreadedMotoServer

    for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="models")
        yield address
    finally:
        server.stop()


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
