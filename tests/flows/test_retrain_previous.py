"""What a retrain goes on from: the champion's vectors and models, the last run's ids, and nothing that does not fit."""

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest
import yaml

from flows import retrain_previous
from flows.retrain_inputs import Generation
from flows.retrain_previous import bring_previous
from flows.worktree import Worktree
from tasks.lineage import dvc_md5
from tasks.paths import FINETUNED, ITEM_IDS, PRETRAINED, PREVIOUS, USER_IDS

FILES = {"cf.safetensors", "anchor.safetensors", "drift.json"}
MAPS = {"user_ids.parquet", "item_ids.parquet"}
MODELS = {"params.yaml", "encoder", "ilm"}


class Cache:
    """DVC's cache, and what a dvc.lock says of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, content: bytes, suffix: str = "") -> str:
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest() + suffix
        path = self.folder / "files/md5" / md5[:2] / md5[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return md5

    def outs(self, name: str, users: list[str], items: list[str]) -> dict[str, str]:
        """Path -> md5 of a generation whose files tell its name."""
        found = {f"data/features/{file}": self.add(f"{file} of {name}".encode()) for file in FILES}
        for path, column, ids in ((USER_IDS, "user_id", users), (ITEM_IDS, "item_id", items)):
            table = self.folder / "table.parquet"
            pl.DataFrame({"index": range(len(ids)), column: ids}).write_parquet(table)
            found[str(path)] = self.add(table.read_bytes())
        for path in (PRETRAINED, FINETUNED):
            weights = self.add(f"{path.name} of {name}".encode())
            listing = [{"md5": weights, "relpath": "sub/model.safetensors"}]
            found[str(path)] = self.add(json.dumps(listing).encode(), ".dir")
        return found


@pytest.fixture
def tree(tmp_path: Path) -> Worktree:
    """A worktree with code of three stages."""
    for name in ("ilm/cf", "ilm/train", "tasks"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        (tmp_path / "tree" / name / "code.py").write_text(name)
    return Worktree(tmp_path, "run", "commit", tmp_path / "tree")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def champion(tree: Worktree, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Outs of the champion, whose lineage the registry gives."""
    outs = cache.outs("champion", ["u1", "u2"], ["i1"])
    lineage = tmp_path / "lineage"
    lineage.mkdir()
    (lineage / "params.yaml").write_text("settings of the champion")
    deps = {"cf": ["ilm/cf"], "pretrain": ["ilm/train"], "finetune": ["ilm/train", "tasks/code.py"]}
    stages = {
        name: {"deps": [{"path": path, "md5": dvc_md5(tree.project / path)} for path in paths]}
        for name, paths in deps.items()
    }
    stages["cf"]["outs"] = [{"path": path, "md5": md5} for path, md5 in outs.items()]
    (lineage / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    monkeypatch.setattr(retrain_previous, "_champions_lineage", lambda tree: lineage)
    return outs


def brought(tree: Worktree) -> set[str]:
    return {path.name for path in (tree.project / PREVIOUS).glob("*")}


def ids(tree: Worktree) -> list[str]:
    return pl.read_parquet(tree.project / PREVIOUS / "user_ids.parquet")["user_id"].to_list()


def drop(cache: Cache, md5: str) -> None:
    (cache.folder / "files/md5" / md5[:2] / md5[2:]).unlink()


def test_vectors_and_models_are_the_champions_and_ids_the_last_runs(
    tree: Worktree, cache: Cache, champion: dict[str, str]
) -> None:
    latest = cache.outs("refused", ["u1", "u2", "u3"], ["i1", "i2"])
    bring_previous(tree, Generation(latest, cache.folder))
    folder = tree.project / PREVIOUS
    assert brought(tree) == FILES | MAPS | MODELS
    assert ids(tree) == ["u1", "u2", "u3"]
    assert (folder / "cf.safetensors").read_text() == "cf.safetensors of champion"
    assert (folder / "ilm/sub/model.safetensors").read_text() == "ilm of champion"
    assert (folder / "params.yaml").read_text() == "settings of the champion"


def test_ids_of_a_run_that_began_its_own_line_are_not_taken(
    tree: Worktree, cache: Cache, champion: dict[str, str]
) -> None:
    latest = cache.outs("other", ["u2", "u1", "u3"], ["i1"])
    bring_previous(tree, Generation(latest, cache.folder))
    assert ids(tree) == ["u1", "u2"]


@pytest.mark.parametrize(
    ("gone", "left", "said"),
    [
        (FINETUNED, MAPS | FILES, "models are not in DVC's cache"),
        ("data/features/anchor.safetensors", MAPS, "vectors are not in DVC's cache"),
    ],
)
def test_what_is_gone_from_the_cache_is_said_and_left_out_with_what_needs_it(
    tree: Worktree, cache: Cache, champion: dict[str, str], capsys: pytest.CaptureFixture[str],
    gone: Path | str, left: set[str], said: str,
) -> None:  # fmt: skip
    drop(cache, champion[str(gone)])
    bring_previous(tree, Generation(champion, cache.folder))
    assert brought(tree) == left
    assert said in capsys.readouterr().out


def test_a_folder_of_which_one_file_is_gone_is_not_brought(
    tree: Worktree, cache: Cache, champion: dict[str, str]
) -> None:
    drop(cache, cache.add(b"encoder of champion"))
    bring_previous(tree, Generation(champion, cache.folder))
    assert brought(tree) == MAPS | FILES


@pytest.mark.parametrize(
    ("code", "left", "said"),
    [
        ("ilm/cf/code.py", MAPS, "the code of step cf has changed"),
        ("ilm/train/code.py", MAPS | FILES, "the code of the trainings has changed"),
    ],
)
def test_what_other_code_has_made_is_not_gone_on_from(
    tree: Worktree, cache: Cache, champion: dict[str, str], capsys: pytest.CaptureFixture[str],
    code: str, left: set[str], said: str,
) -> None:  # fmt: skip
    (tree.project / code).write_text("changed")
    bring_previous(tree, Generation(champion, cache.folder))
    assert brought(tree) == left
    assert said in capsys.readouterr().out


def test_without_a_champion_only_ids_are_brought(tree: Worktree, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrain_previous, "_champions_lineage", lambda tree: None)
    bring_previous(tree, Generation(cache.outs("last", ["u1"], ["i1"]), cache.folder))
    assert brought(tree) == MAPS


def test_a_first_run_brings_nothing(tree: Worktree, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrain_previous, "_champions_lineage", lambda tree: None)
    bring_previous(tree, Generation({}, cache.folder))
    assert brought(tree) == set()
