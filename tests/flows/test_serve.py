"""`ilm serve` with a real registry: follows its champion, keeps what works, and is a good process."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from flows import served_models
from flows.registry_store import CHAMPION, Registry
from flows.served_models import ChampionFollower
from ilm.errors import ArtifactError
from ilm.serve.api.application import make_application
from ilm.serve.api.limits import Limits
from ilm.serve.api.served import NotServed
from tests.conftest import put_store
from tests.fake_project import ROOT, wait_until
from tests.http_server import listening
from tests.ilm.serve.conftest import make_model
from tests.servers import mlflow_server


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models that answer differently."""
    made = [make_model(tmp_path_factory.mktemp(kind), kind) for kind in ("qformer", "mlp")]
    return [bundle.rename(bundle.parent / "artifacts-of-a-version") for bundle in made]


@pytest.fixture
def registry(bundles: list[Path], tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry on SQLite with these two as versions 1 and 2; version 3 has no files."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    (home / "params.yaml").write_text("")
    put_store(empty_store, home)
    made = Registry.open(home)
    made.client.create_registered_model(made.name)
    for number in (1, 2, 3):
        version = tmp_path / f"version{number}"
        (version / "artifacts").mkdir(parents=True)
        if number < 3:
            shutil.copytree(bundles[number - 1], version / "artifacts" / "bundle")
        run = made.client.create_run("1").info.run_id
        made.client.create_model_version(made.name, f"file://{version}", run)
    made.set_alias(CHAMPION, "1")
    return made


@pytest.fixture
def home(registry: Registry, tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_a_new_champion_is_served_as_soon_as_it_is_one(home, registry):
    follower = ChampionFollower(home, 0.05)
    follower.look()
    first = follower.served.champion
    assert first.version == "1"
    follower.look()
    assert follower.served.champion is first, "what is served already is not loaded again"
    follower.follow()
    try:
        registry.set_alias(CHAMPION, "2")
        wait_until(lambda: follower.served.champion.version == "2", 30)
    finally:
        follower.end()


def test_what_does_not_load_is_not_served_and_that_is_told(home, registry, caplog):
    follower = ChampionFollower(home, 0.05)
    follower.look()
    follower.follow()
    try:
        registry.set_alias(CHAMPION, "3")
        wait_until(lambda: follower.served.problem is not None, 30)
        assert follower.served.champion.version == "1"
        assert follower.served.problem == "version 3 is champion but does not load; the server's log says why."
        assert "version 3: its files cannot be had" in caplog.text
        registry.set_alias(CHAMPION, "1")
        wait_until(lambda: follower.served.problem is None, 30)
    finally:
        follower.end()


def test_what_does_not_load_is_tried_again_later_and_not_at_every_look(home, registry, monkeypatch):
    loads, looks = [], []
    follower = ChampionFollower(home, 0.01)
    follower.look()

    def fail(registry: Registry, version: str) -> None:
        loads.append(version)
        raise ArtifactError("its files are damaged.")

    asked = follower._asked
    monkeypatch.setattr(served_models, "load", fail)
    monkeypatch.setattr(follower, "_asked", lambda: looks.append(1) or asked())
    registry.set_alias(CHAMPION, "2")
    follower.follow()
    try:
        wait_until(lambda: len(looks) > 4, 30)
        assert loads == ["2"]
        monkeypatch.setattr(served_models, "RETRY_SECONDS", 0.0)
        wait_until(lambda: len(loads) > 1, 30)
        assert follower.served.champion.version == "1"
    finally:
        follower.end()


def test_models_that_come_and_go_leave_no_copies_behind(home, registry, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    follower = ChampionFollower(home, 1)
    for champion in ("1", "2"):
        registry.set_alias(CHAMPION, champion)
        follower.look()
    registry.set_alias(CHAMPION, "3")
    with pytest.raises(ArtifactError):
        follower.look()
    assert list(temporary.iterdir()) == []
    assert follower.served.champion.model.rank(user="alice", k=1), "the copy is needed no longer"


@pytest.mark.slow
def test_a_champion_comes_from_a_server_elsewhere_and_leaves_no_copy(bundles, tmp_path, monkeypatch):
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    (home / "params.yaml").write_text("")
    with mlflow_server(f"sqlite:///{tmp_path / 'server.db'}", tmp_path / "artifacts") as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        registry = Registry.open(home)
        registry.client.create_registered_model(registry.name)
        run = registry.client.create_run("0").info
        registry.client.log_artifacts(run.run_id, str(bundles[0]), "model/artifacts/bundle")
        registry.client.create_model_version(registry.name, f"{run.artifact_uri}/model", run.run_id)
        registry.set_alias(CHAMPION, "1")
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        follower = ChampionFollower(home, 1)
        follower.look()
    assert follower.served.champion.model.rank(user="alice", k=1)
    assert list(temporary.iterdir()) == []


def test_a_registry_that_is_down_ends_nothing(home, registry):
    follower = ChampionFollower(home, 0.05)
    follower.look()
    (home / "params.yaml").rename(home / "elsewhere.yaml")
    follower.follow()
    try:
        wait_until(lambda: follower.served.problem is not None, 30)
        assert follower.served.champion.version == "1"
        (home / "elsewhere.yaml").rename(home / "params.yaml")
        wait_until(lambda: follower.served.problem is None, 30)
    finally:
        follower.end()


def test_without_a_champion_there_is_nothing_to_serve(home, registry):
    registry.set_alias(CHAMPION, None)
    with pytest.raises(ArtifactError, match="no champion yet"):
        ChampionFollower(home, 1).look()


def test_the_challenger_is_the_registrys(home, registry):
    follower = ChampionFollower(home, 1)
    follower.look()
    with pytest.raises(NotServed, match="no challenger now"):
        follower.served.get("challenger")
    assert follower.served.names() == ["champion"]
    registry.set_alias("challenger", "2")
    follower.look()
    assert follower.served.names() == ["champion", "challenger"]
    assert follower.served.get("challenger").version == "2"


def test_no_request_is_lost_while_a_champion_takes_over(home, registry):
    follower = ChampionFollower(home, 0.05)
    follower.look()
    with listening(make_application(follower.served, Limits())) as url:
        follower.follow()
        answers: list[tuple[int, str]] = []
        ended = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=url) as client:
                while not ended.is_set():
                    answer = client.post("/recommend", json={"user": "alice"})
                    answers.append((answer.status_code, answer.json()["version"]))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for champion in ("2", "1", "2"):
                registry.set_alias(CHAMPION, champion)
                wait_until(lambda champion=champion: bool(answers) and answers[-1][1] == champion, 30)
        finally:
            ended.set()
            for thread in threads:
                thread.join()
            follower.end()
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == {"1", "2"}


@contextmanager
def serving(home: Path, *words: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command `ilm serve` at work, and its address."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, "-P", "-m", "flows.cli", "serve", "--port", "0", *words]
    process = subprocess.Popen(command, cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        line = next(line for line in process.stdout if line.startswith("serve  "))
        address = line.split()[1]
        wait_until(lambda: _lives(address), 30)
        yield process, address
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _lives(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health").status_code == 200
    except httpx.HTTPError:
        return False


def test_the_command_serves_survives_kill_9_and_ends_on_sigterm(home):
    with serving(home) as (process, address):
        assert address.startswith("http://127.0.0.1:")
        first = httpx.post(f"{address}/recommend", json={"user": "alice"}).json()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with serving(home) as (process, address):
        assert httpx.post(f"{address}/recommend", json={"user": "alice"}).json() == first
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)
