"""What all tests share: no telemetry, no network, no state from outside, the same examples every time."""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: on tiny models, threads wait more than they compute
import tasks  # sets the environment switches before numpy and mlflow are imported
from tests.fake_project import make_project, run

assert tasks
settings.register_profile("same", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("same")
os.environ["MPLBACKEND"] = "Agg"


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where two processes share the tests, those of a file and those of the trained project stay together."""
    for item in items:
        trained = "trained" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("trained" if trained else item.nodeid.partition("::")[0]))


@pytest.hookimpl(tryfirst=True)  # before fixtures, some of which take many minutes
def pytest_runtest_setup(item: pytest.Item) -> None:
    """No slow test begins after SLOW_TESTS_BEGIN_BEFORE (seconds of the epoch): CI has a limit."""
    moment = float(os.environ.get("SLOW_TESTS_BEGIN_BEFORE", "inf"))
    if item.get_closest_marker("slow") and time.time() > moment:
        pytest.skip("no time was left for it")


@pytest.fixture(autouse=True)
def environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that the code sets or reads are unset in every test, and forgotten after it."""
    for name in ("MLFLOW_TRACKING_URI", "ILM_EXECUTION", "DVC_STAGE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One folder for Prefect's database: making a new one takes ten seconds."""
    folder = tmp_path_factory.mktemp("prefect")
    os.environ["PREFECT_HOME"] = str(folder)
    yield str(folder)
    del os.environ["PREFECT_HOME"]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mlflow.db without runs, to be copied: making one takes seconds."""
    from tasks.tracking import Store

    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        Store.open(folder)
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
    return folder / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fake project, nothing run yet, as the current folder."""
    folder = make_project(tmp_path / "project")
    put_store(empty_store, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """The fake project after one `dvc repro`; not to be changed."""
    folder = make_project(tmp_path_factory.mktemp("finished") / "project")
    put_store(empty_store, folder)
    done = run(folder, "-m", "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def finished(tmp_path: Path, finished_project: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished project, with an empty store, as the current folder."""
    folder = tmp_path / "project"
    shutil.copytree(finished_project, folder, symlinks=True)
    put_store(empty_store, folder)
    monkeypatch.chdir(folder)
    return folder


def put_store(empty_store: Path, project: Path) -> None:
    """Give a project an empty store whose artifacts lie in the project."""
    shutil.copyfile(empty_store, project / "mlflow.db")
    with sqlite3.connect(project / "mlflow.db") as database:
        database.execute("UPDATE experiments SET artifact_location = ?", ((project / "mlartifacts").as_uri(),))
    database.close()
