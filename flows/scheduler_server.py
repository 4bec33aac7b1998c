"""The Prefect server that a scheduler talks to: the one that PREFECT_API_URL names, or the project's own on loopback.

The project's own keeps its SQLite database in `.ilm/prefect`; only it writes there. It ends with the scheduler, and is
started again if it dies.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from flows.lease import STATE
from ilm.errors import ConfigError
from ilm.files import write_text
from tasks.process import end_with

HOME, PORT = STATE / "prefect", STATE / "prefect" / "port"
"""PREFECT_HOME of the project's own server, and the port that it had last."""
SILENT_SECONDS = 180.0
"""After so long without an answer it is started anew. Its first start takes 10 s and more."""
PAUSE_SECONDS = 15.0
"""Between two starts at least: one that cannot start would fill the log."""
GRACE_SECONDS = 10.0
"""Between asking it to end and killing it."""
SETTINGS = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",  # runs of the last 90 days are kept
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",  # the scheduler sees to them; on SQLite two get in the way
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_LOGGING_LEVEL": "ERROR",
}


class Server:
    """The server to talk to, at `address` once `keep_up` says so.

    Raises:
        ConfigError: PREFECT_API_URL holds a password.
    """

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._home, self._given = home.resolve(), environment.get("PREFECT_API_URL")
        if "@" in (self._given or ""):  # it is printed, and written to a file
            raise ConfigError(
                "PREFECT_API_URL has a password in it. Put it into PREFECT_API_AUTH_STRING: user:password."
            )
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._heard = float("-inf")
        self.address = self._given or ""

    @property
    def is_own(self) -> bool:
        """Whether it is the project's own."""
        return not self._given

    def keep_up(self) -> bool:
        """Start the project's own server if it does not run. True if it answers, or if it is somebody else's."""
        if not self.is_own:
            return True
        if self._process is None or self._process.poll() is not None:
            if time.monotonic() - self._started < PAUSE_SECONDS:
                return False
            if self._process is not None:
                print("schedule  the Prefect server has ended; it is started again", flush=True)
            self._start()
        if answers(self.address):
            self._heard = time.monotonic()
            return True
        if time.monotonic() - self._heard > SILENT_SECONDS:
            print(f"schedule  no answer from the Prefect server for {SILENT_SECONDS:.0f} s; once more", flush=True)
            self.stop()
        return False

    def stop(self) -> None:
        """End the project's own server."""
        if self._process is None or self._process.poll() is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._process.send_signal(number)
            try:
                self._process.wait(GRACE_SECONDS)
                return
            except subprocess.TimeoutExpired:
                continue

    def _start(self) -> None:
        (self._home / HOME).mkdir(parents=True, exist_ok=True)
        port = _free_port(self._home / PORT)
        self.address = f"http://127.0.0.1:{port}/api"
        self._started = self._heard = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            cwd=self._home / HOME,
            env=os.environ | SETTINGS | {"PREFECT_HOME": str(self._home / HOME)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # its banner
            start_new_session=True,
            preexec_fn=partial(end_with, os.getpid()),
        )


def answers(address: str) -> bool:
    """Whether a Prefect server on this machine answers there."""
    try:
        with build_opener(ProxyHandler({})).open(f"{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _free_port(remembered: Path) -> int:
    """The port of last time, so that a bookmark stays right; another one if somebody has it."""
    last = remembered.read_text(encoding="ascii").strip() if remembered.exists() else ""
    for port in [int(last)] if last.isdecimal() else []:
        if _can_bind(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    write_text(remembered, f"{port}\n")
    return port


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except (OSError, OverflowError):
            return False
