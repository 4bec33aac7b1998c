from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import promotion
from flows.promotion import promote
from flows.registry_store import Registry
from flows.scheduler_server import HOME, Server
from ilm.serve import item_language_model
from tests.fake_project import wait_until
from tests.flows.test_registry import StandIn
from tests.scheduled_project import make_scheduled_project, processes
from tests.small_registry import copy_project, make_registry
from tests.two_versions import make_two_versions


@pytest.fixture(scope="session")
def small_registries(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """Two projects, to be copied: `registered`, and `serving` after two promotions."""
    folder = tmp_path_factory.mktemp("registries")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setattr(promotion, "verify", lambda registry, version: None)
        make_registry(folder / "registered", empty_store)
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        home = folder / "serving"
        registry = make_registry(home, empty_store)
        promote(home, "1", expected_champion=None, bootstrap=True, actor="anna@desk")
        promote(home, "2", expected_champion="1", actor="ben@desk", because="It reads better.")
        registry.set_alias("challenger", "3")
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
    return folder


@pytest.fixture
def registered(small_registries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Registry of the project tmp_path/home, with versions 1 to 3, which pass for whole, and no champion."""
    monkeypatch.setattr(promotion, "verify", lambda registry, version: None)
    return copy_project(small_registries / "registered", tmp_path / "home")


@pytest.fixture
def serving(small_registries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The same after two promotions: champion 2, previous 1; 3 waits as challenger."""
    monkeypatch.setattr(promotion, "verify", lambda registry, version: None)
    return copy_project(small_registries / "serving", tmp_path / "home")


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory: pytest.TempPathFactory, finished_project: Path, empty_store: Path) -> Path:
    """The project of tests/two_versions.py; not to be changed."""
    return make_two_versions(tmp_path_factory.mktemp("two") / "home", finished_project, empty_store)


@pytest.fixture
def home_of_two(two_versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the current folder, with a recommender that stands in for the versions."""
    monkeypatch.setattr(item_language_model, "ItemLanguageModel", StandIn)
    copy_project(two_versions, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture(scope="session")
def empty_prefect(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a Prefect server that has just been made, to be copied: making one takes ten seconds."""
    home = tmp_path_factory.mktemp("server")
    server = Server(home, {})
    try:
        wait_until(server.keep_up, 180)
    finally:
        server.stop()
    return home / HOME / "prefect.db"


@pytest.fixture
def scheduled(
    tmp_path: Path, empty_store: Path, empty_prefect: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The project of tests/scheduled_project.py; no process of it is left after the test."""
    home = make_scheduled_project(tmp_path, empty_store, empty_prefect, monkeypatch)
    yield home
    for process in processes(home):
        process.kill()
