"""Whom `ilm serve` lets in, and what it says before it listens at all."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flows.serve import guarded, is_loopback, required_key
from ilm.errors import ConfigError
from ilm.serve.api.limits import Limits
from tests.fake_project import ROOT


def run(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-P", "-m", "flows.cli", "serve", *words]
    return subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, timeout=60)


def test_a_door_to_other_machines_needs_a_key(tmp_path):
    done = run(tmp_path, "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "set ILM_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_one_message(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run(tmp_path, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "cannot listen at 127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.1", False), ("example.org", False), ("localhost.example.org", False)],
)  # fmt: skip
def test_only_loopback_is_loopback(host, loopback, monkeypatch):
    monkeypatch.delenv("ILM_API_KEY", raising=False)
    assert is_loopback(host) == loopback
    if loopback:
        assert required_key(host) is None
    else:
        with pytest.raises(ConfigError, match="ILM_API_KEY"):
            required_key(host)


@pytest.mark.parametrize("key", ["short", "0123456789abcde", "0123456789abcdef\u00e9", "0123456789abcdef\n"])
def test_a_key_that_is_none_is_refused(key, monkeypatch):
    monkeypatch.setenv("ILM_API_KEY", key)
    with pytest.raises(ConfigError, match="at least 16") as refused:
        required_key("0.0.0.0")
    assert key not in str(refused.value)


def test_host_names_are_checked_on_loopback_and_where_they_are_given():
    assert set(guarded(Limits(), "127.0.0.1").hosts) == {"localhost", "127.0.0.1", "::1"}
    assert guarded(Limits(), "0.0.0.0").hosts == ()
    assert "films.example.org" in guarded(Limits(hosts=("films.example.org",)), "0.0.0.0").hosts
