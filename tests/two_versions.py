"""The fake project with two registered versions behind it, whose code, settings and data have changed since."""

import shutil
from pathlib import Path

import pytest

from flows import registry
from flows.promotion import promote
from tests.conftest import put_store
from tests.fake_project import git, run
from tests.flows.test_registry import StandIn


def make_two_versions(home: Path, finished_project: Path, empty_store: Path) -> Path:
    """Version 1: two factors. Version 2, champion: three, and a file of data that git does not know."""
    from ilm.serve import item_language_model

    shutil.copytree(finished_project, home, symlinks=True)
    put_store(empty_store, home)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setattr(item_language_model, "ItemLanguageModel", StandIn)
        monkeypatch.chdir(home)
        assert registry.register(home) == "1"
        promote(home, "1", expected_champion=None, bootstrap=True, actor="anna@desk")

        params = (home / "params.yaml").read_text()
        (home / "params.yaml").write_text(params.replace("factors: 2", "factors: 3"))
        git(home, "commit", "--quiet", "--all", "--message", "three factors")
        (home / "data/raw/unknown_to_git.txt").write_text("more\n")
        done = run(home, "-m", "dvc", "repro")
        assert done.returncode == 0, done.stdout + done.stderr
        assert registry.register(home) == "2"
        promote(home, "2", expected_champion="1", actor="ben@desk", because="It has three factors.")
        monkeypatch.delenv("MLFLOW_TRACKING_URI")

    (home / "fake.py").write_text("# the branch has moved on\n")
    git(home, "commit", "--quiet", "--all", "--message", "moved on")
    (home / "params.yaml").write_text("# in the middle of some work\n")
    (home / "data/raw/unknown_to_git.txt").write_text("other\n")
    (home / "data/raw/log.txt").write_text("other\n")
    return home
