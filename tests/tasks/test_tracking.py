import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from tasks import environment
from tasks.tracking import EXPERIMENT, Store, said_by


def test_store_is_made_in_the_project_with_artifacts_beside_it(empty_store: Path) -> None:
    store = Store.open(empty_store.parent)
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{empty_store}"
    location = store.client.get_experiment(store.experiment_id).artifact_location
    assert location == (empty_store.parent / "mlartifacts").as_uri()


def test_another_store_is_used_when_the_environment_names_it(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{empty_store}")
    Store.open(tmp_path)
    assert not (tmp_path / "mlflow.db").exists()


def test_two_processes_that_open_a_new_store_at_once_share_it(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from tasks.tracking import Store; Store.open(Path(sys.argv[1]))"
    openers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    assert [opener.wait() for opener in openers] == [0, 0]
    names = [experiment.name for experiment in Store.open(tmp_path).client.search_experiments()]
    assert names.count(EXPERIMENT) == 1
    assert not [path for path in tmp_path.iterdir() if path.is_dir()], "nothing temporary is left"


def test_store_whose_making_is_cut_short_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half_made(address: str) -> None:
        Path(address.removeprefix("sqlite:///")).write_text("half a database")
        raise KeyboardInterrupt

    monkeypatch.setattr(mlflow, "MlflowClient", half_made)
    with pytest.raises(KeyboardInterrupt):
        Store.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".mlflow.db.lock"]


def test_switches_win_over_the_users_environment_and_defaults_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "DEBUG")
    environment.switch()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["PREFECT_LOGGING_LEVEL"] == "DEBUG"


@pytest.mark.parametrize("name", ["DO_NOT_TRACK", "DVC_NO_ANALYTICS", "HF_HUB_OFFLINE", "MLFLOW_DISABLE_TELEMETRY"])
def test_every_tools_telemetry_is_off(name: str) -> None:
    assert os.environ[name] in {"1", "true", "false"}
    assert os.environ[name] == environment.SWITCHES[name]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (
            "no route to postgresql://ilm:s3cret@db:5432/x\n  (timeout)",
            "no route to postgresql://…@db:5432/x (timeout)",
        ),
        ("https://token@tracking.example/api failed", "https://…@tracking.example/api failed"),
        ("sqlite:////home/a@b/mlflow.db is locked", "sqlite:////home/a@b/mlflow.db is locked"),
    ],
)
def test_passwords_in_addresses_are_not_repeated(said: str, kept: str) -> None:
    assert said_by(RuntimeError(said)) == kept
