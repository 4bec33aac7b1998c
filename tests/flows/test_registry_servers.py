"""The registry on real servers: MLflow with SQLite and with PostgreSQL, reached over HTTP; a DVC remote on S3."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flows import promotion, registry
from flows.checkout import checkout
from flows.history import history
from flows.ledger import FILE
from flows.promotion import promote, promote_first, rollback
from flows.registry_store import Registry, Serving
from flows.version import DIGEST
from ilm.serve import item_language_model
from tasks.lineage import dvc_md5
from tests.fake_project import ROOT, run
from tests.flows.test_registry import StandIn
from tests.servers import mlflow_server, postgresql, s3
from tests.small_registry import Killer, assert_consistent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an MLflow server."""
    folder = tmp_path_factory.mktemp(f"server-{request.param}")
    if request.param == "sqlite":
        with mlflow_server(f"sqlite:///{folder}/mlflow.db", folder / "artifacts") as address:
            yield address
    else:
        with postgresql() as database, mlflow_server(database, folder / "artifacts") as address:
            yield address


@pytest.fixture
def shared(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A model of its own on the server, with three versions; 1 is champion. tmp_path/a and b are two projects."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setattr(promotion, "verify", lambda registry, version: None)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "params.yaml").write_text(f"registry:\n  model_name: {tmp_path.name}\n")
    found = Registry.open(tmp_path / "a")
    found.client.create_registered_model(found.name)
    experiment = found.client.get_experiment_by_name("ilm")
    for number in (1, 2, 3):
        made = found.client.create_run(experiment.experiment_id).info
        found.client.create_model_version(found.name, made.artifact_uri, made.run_id, tags={DIGEST: f"d{number}"})
    promote(tmp_path / "a", "1", expected_champion=None, bootstrap=True)
    return found


def test_promotion_and_rollback_over_http(shared: Registry, tmp_path: Path) -> None:
    promote(tmp_path / "a", "2", expected_champion="1", because="It is new: ärger mit Umlauten?")
    rollback(tmp_path / "b")
    assert shared.serving() == Serving("1", "2")
    assert [reign.version for reign in history(tmp_path / "a")] == ["1", "2", "1"]
    assert (tmp_path / "a" / FILE).read_bytes() == (tmp_path / "b" / FILE).read_bytes()


@pytest.mark.parametrize("after", range(1, 9))
def test_killed_promotion_is_repaired_from_another_machine(
    shared: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    assert Killer(monkeypatch).kill(after, lambda: promote(tmp_path / "a", "2", expected_champion="1", because="x"))
    history(tmp_path / "b")
    assert shared.serving() == (Serving("1", None) if after < 5 else Serving("2", "1"))
    history(tmp_path / "a")
    for home in ("a", "b"):
        lines = (tmp_path / home / FILE).read_text().splitlines()
        assert lines == [tag for key, tag in sorted(shared.tags().items()) if key.startswith("ilm.ledger.")]


RACE = """
import sys, time
from pathlib import Path
from flows import promotion
from ilm.errors import IlmError
version, start = sys.argv[1], float(sys.argv[2])
promotion.verify = lambda registry, version: time.sleep(max(0.0, start - time.time()))
try:
    promotion.promote(Path.cwd(), version, expected_champion="1", because="It is new.")
except IlmError as error:
    print(type(error).__name__)
    sys.exit(2)
"""


def test_of_two_projects_that_promote_at_once_one_wins_and_the_other_says_so(shared: Registry, tmp_path: Path) -> None:
    """Two processes without a lock in common have verified, and go on at the same moment."""
    import time

    start = str(time.time() + 20)
    rivals = {
        version: subprocess.Popen(
            [sys.executable, "-c", RACE, version, start],
            cwd=tmp_path / home,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for home, version in (("a", "2"), ("b", "3"))
    }
    said = {version: rival.communicate()[0].strip() for version, rival in rivals.items()}
    codes = {version: rival.returncode for version, rival in rivals.items()}
    (winner,) = [version for version, code in codes.items() if code == 0]
    (loser,) = [version for version, code in codes.items() if code == 2]
    assert said[loser].splitlines()[-1] in ("ChampionMoved", "PromotionUnderWay")
    history(tmp_path / "a")
    history(tmp_path / "b")
    assert shared.serving() == Serving(winner, "1")
    assert (tmp_path / "a" / FILE).read_bytes() == (tmp_path / "b" / FILE).read_bytes()


def test_bundle_goes_to_the_server_and_comes_back_whole(
    server: str, finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setattr(item_language_model, "ItemLanguageModel", StandIn)
    promote_first(finished, registry.register(finished), bootstrap=True)
    assert (registry.champion_bundle(finished) / "catalogue.parquet").is_file()
    assert checkout(finished, "champion", tmp_path / "there").notes == ()
    assert_consistent(finished, Registry.open(finished))


def test_version_comes_back_from_a_remote_on_s3(
    home_of_two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3(monkeypatch) as address:
        for words in (
            ("remote", "add", "-d", "store", "s3://models/ilm"),
            ("remote", "modify", "store", "endpointurl", address),
        ):
            assert run(home_of_two, "-m", "dvc", *words).returncode == 0
        checkout(home_of_two, "1", tmp_path / "first")
        pushed = run(tmp_path / "first", "-m", "dvc", "push")
        assert pushed.returncode == 0, pushed.stderr
        shutil.rmtree(home_of_two / ".dvc/cache")
        checkout(home_of_two, "1", tmp_path / "second")
    lock = yaml.safe_load((tmp_path / "second/dvc.lock").read_text())["stages"].values()
    made = {out["path"]: out["md5"] for stage in lock for out in stage["outs"]}
    assert {path: dvc_md5(tmp_path / "second" / path) for path in made} == made
    assert (tmp_path / "second/data/raw/log.txt").read_text() == "a log\n"
