"""Spark MLlib itself: the same objective, a cluster that loses a worker, and nothing left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from ilm.cf.als import Fit, fit
from ilm.cf.backends import spark_session
from ilm.cf.backends.spark_mllib import learn
from ilm.errors import ConfigError, IlmError
from ilm.params import CfParams
from tests.fake_project import wait_for_end
from tests.ilm.cf.regular_matrix import SETTINGS, from_item_vectors, regular_matrix
from tests.ilm.cf.spark_cluster import cluster
from tests.ilm.cf.test_backends import needs_spark

pytestmark = needs_spark


def run(rows: np.ndarray, folder: Path, **settings: object) -> Fit:
    users, items = rows.T.astype(np.int32)
    params = CfParams.model_validate({"spark_folder": str(folder), "spark_memory": "512m"} | settings)
    sizes = {"n_users": users.max() + 1, "n_items": items.max() + 1}
    return fit(users, items, **sizes, params=params, item_map_hash="i", user_map_hash="u")


def some_pairs(users: int = 300, items: int = 120, count: int = 4000) -> np.ndarray:
    """[count, 2] of four tastes."""
    rng = np.random.default_rng(0)
    user = rng.integers(0, users, count)
    return np.stack([user, (rng.integers(0, items // 4, count) * 4 + user % 4) % items], axis=1)


def test_a_worker_that_dies_does_not_end_the_fit(tmp_path: Path) -> None:
    """Killed as soon as the first checkpoint is written; most iterations are yet to come then."""
    settings = {"backend": "spark", "factors": 8, "iterations": 30}
    alone = run(some_pairs(), tmp_path / "alone", **settings).factors
    (tmp_path / "logs").mkdir()
    with cluster(tmp_path / "logs", workers=2, memory="600m") as running:
        took_part: list[bool] = []
        under_way: list[Path] = []

        def kill_one() -> None:
            until = time.monotonic() + 300
            while not list((tmp_path / "fit").glob("fit-*/checkpoints/*/rdd-*")) and time.monotonic() < until:
                time.sleep(0.02)
            took_part.extend(bool(list(folder.glob("app-*/*"))) for folder in running.folders)  # has an executor
            running.workers[0].kill()
            running.workers[0].wait()
            under_way.extend((tmp_path / "fit").glob("fit-*/interactions.parquet"))

        killer = threading.Thread(target=kill_one)
        killer.start()
        found = run(some_pairs(), tmp_path / "fit", spark_master=running.master, **settings).factors
        killer.join()
        assert (took_part, len(under_way)) == ([True, True], 1)
        assert (running.workers[0].poll(), running.workers[1].poll()) == (-9, None)
        assert "Removing worker" in (tmp_path / "logs/master.log").read_text(), "the master saw it go during the fit"
    np.testing.assert_allclose(found.item_factors, alone.item_factors, atol=1e-3)
    assert not list((tmp_path / "fit").iterdir())


def test_a_cluster_without_workers_is_told_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_session, "SECONDS_FOR_WORKERS", 2)
    (tmp_path / "logs").mkdir()
    with (
        cluster(tmp_path / "logs", workers=0, memory="600m") as running,
        pytest.raises(ConfigError, match="no worker gave an executor with 512m within 2 s"),
    ):
        run(some_pairs(), tmp_path / "fit", backend="spark", spark_master=running.master)


def test_on_a_regular_matrix_its_item_vectors_solve_the_objective_of_implicit(tmp_path: Path) -> None:
    params = CfParams(**SETTINGS, backend="spark", spark_folder=str(tmp_path), spark_memory="512m")
    found = learn(regular_matrix(), params, None, 0).item_factors
    np.testing.assert_allclose(from_item_vectors(found), found, atol=1e-3)


def test_what_does_not_fit_in_memory_lies_on_disk_meanwhile(tmp_path: Path) -> None:
    """Six million interactions, of which 512 MB of heap hold no more than 130 MB at a time."""
    rng, count = np.random.default_rng(0), 6_000_000
    rows = np.stack([rng.integers(0, 60_000, count), rng.integers(0, 20_000, count)], axis=1)
    on_disk: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            on_disk.update(path.name for path in tmp_path.glob("fit-*/spill/blockmgr-*/*/rdd_*"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    found = run(rows, tmp_path, backend="spark", factors=8, iterations=2)
    done.set()
    watcher.join()
    assert on_disk
    assert found.losses[-1] < 0.06
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("memory", "said"), [("64m", "System memory .* must be at least"), ("999999999g", "Java gateway process exited")]
)
def test_a_failure_is_one_line_that_names_the_log(memory: str, said: str, tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    message = rf"Spark failed at local\[2\]: .*{said}.*Its log is .*raise cf.spark_memory"
    with pytest.raises(IlmError, match=message) as told:
        run(some_pairs(), tmp_path, backend="spark", spark_memory=memory)
    assert "\n" not in str(told.value)
    (log,) = tmp_path.iterdir()
    assert "memory" in log.read_text() or "heap" in log.read_text()
    assert signal.getsignal(signal.SIGINT) is handler


def test_java_that_dies_in_the_middle_is_one_line_too(tmp_path: Path) -> None:
    import psutil

    def kill_java() -> None:
        until = time.monotonic() + 120
        while not list(tmp_path.glob("fit-*/checkpoints/*/rdd-*")) and time.monotonic() < until:
            time.sleep(0.02)
        for child in psutil.Process().children(recursive=True):
            if "java" in child.name() and str(tmp_path) in " ".join(child.cmdline()):
                child.kill()

    killer = threading.Thread(target=kill_java)
    killer.start()
    with pytest.raises(IlmError, match="Spark failed at") as told:
        run(some_pairs(), tmp_path, backend="spark", factors=4, iterations=1000)
    killer.join()
    assert "\n" not in str(told.value)
    assert [path.suffix for path in tmp_path.iterdir()] == [".log"]
    MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")  # asks Spark's session for an address, if it finds one


CODE = """
import numpy as np
from ilm.cf.als import fit
from ilm.params import CfParams
i = np.arange(9, dtype="i4")
params = CfParams(backend="spark", factors=2, iterations=ITERATIONS, spark_folder="FOLDER", spark_memory="512m")
fit(i % 3, i, n_users=3, n_items=9, params=params, item_map_hash="i", user_map_hash="u")
"""


def command(folder: Path, iterations: int) -> list[str]:
    code = CODE.replace("FOLDER", str(folder)).replace("ITERATIONS", str(iterations))
    return [sys.executable, "-c", code]


def test_it_is_quiet_where_no_terminal_listens(tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path, 2), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_java_does_not_outlive_a_killed_step(tmp_path: Path) -> None:
    import psutil

    step = subprocess.Popen(command(tmp_path, 10_000), env=os.environ, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not list(tmp_path.glob("fit-*/checkpoints/*")) and time.monotonic() < until:
        time.sleep(0.1)
    java = [child for child in psutil.Process(step.pid).children(recursive=True) if "java" in child.name()]
    step.kill()
    step.wait()
    assert java
    for process in java:
        wait_for_end(process)
