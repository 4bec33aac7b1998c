"""Recommendations for everybody: the model's own, whole or gone on with, and nothing foreign is overwritten."""

import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ilm import ItemLanguageModel
from ilm.errors import ArtifactError, LookupFailed
from ilm.serve.batch import BATCH, AllUsers, recommend_all, shards_folder
from ilm.serve.export import export
from tests.fake_project import ROOT

KILLED = """
import os, signal, sys
from pathlib import Path
import ilm.serve.batch as batch
from ilm import ItemLanguageModel

written = batch.pq.write_table
def write_half(table, path):
    if path.name == "00001.parquet":
        path.write_bytes(b"PAR1 half")
        os.kill(os.getpid(), signal.SIGKILL)
    written(table, path)
batch.pq.write_table = write_half
model = ItemLanguageModel.from_pretrained(sys.argv[1])
list(batch.recommend_all(batch.AllUsers(model, "m", Path(sys.argv[2]), 3, 2)))
"""


@pytest.fixture(scope="module")
def model(model_folder: Path) -> ItemLanguageModel:
    return ItemLanguageModel.from_pretrained(model_folder)


def run(model: ItemLanguageModel, out: Path, k: int = 3, identity: str = "m", shard_users: int = 2) -> list:
    return list(recommend_all(AllUsers(model, identity, out, k, shard_users)))


def test_every_user_gets_what_the_model_would_recommend(model, tmp_path):
    assert sum(users for users, _ in run(model, tmp_path / "recs.parquet")) == 3
    rows = pl.read_parquet(tmp_path / "recs.parquet").to_dicts()
    users = sorted(model.questions.users())
    wanted = [(user, rank, item) for user in users for rank, item in enumerate(model.rank(user=user, k=3), start=1)]
    assert [(row["user_id"], row["rank"], row["item_id"]) for row in rows] == [(u, r, i.item_id) for u, r, i in wanted]
    assert [row["score"] for row in rows] == pytest.approx([item.score for _, _, item in wanted], abs=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["recs.parquet"]


def test_a_run_that_is_cut_short_is_gone_on_with_to_the_same_bytes(model, tmp_path):
    run(model, tmp_path / "whole")
    going = recommend_all(AllUsers(model, "m", tmp_path / "cut", 3, 2))
    assert next(going) == (2, True)
    next(going)  # the first shard is written, the second one's pass is done
    going.close()
    assert not (tmp_path / "cut").exists()
    assert run(model, tmp_path / "cut") == [(2, False), (1, True)]
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_run_that_is_killed_while_it_writes_is_gone_on_with_to_the_same_bytes(model, model_folder, tmp_path):
    words = [sys.executable, "-c", KILLED, str(model_folder), str(tmp_path / "killed")]
    assert subprocess.run(words, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == ["killed.shards"]
    run(model, tmp_path / "whole")
    assert run(model, tmp_path / "killed") == [(2, False), (1, True)]
    assert (tmp_path / "killed").read_bytes() == (tmp_path / "whole").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]


@pytest.mark.parametrize("damaged", [b"", b"PAR1 half", b"PAR1"])
def test_a_shard_that_a_power_cut_left_empty_is_made_again(model, tmp_path, damaged):
    run(model, tmp_path / "whole")
    going = recommend_all(AllUsers(model, "m", tmp_path / "cut", 3, 2))
    next(going), next(going)
    going.close()
    (shards_folder(tmp_path / "cut") / "00000.parquet").write_bytes(damaged)
    assert run(model, tmp_path / "cut") == [(2, True), (1, True)]
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()


def test_what_is_finished_is_not_done_again(model, tmp_path):
    run(model, tmp_path / "recs")
    shards_folder(tmp_path / "recs").mkdir()  # as a kill just before the end leaves it
    before = (tmp_path / "recs").stat().st_mtime_ns
    assert run(model, tmp_path / "recs") == [(3, False)]
    assert (tmp_path / "recs").stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == ["recs"]


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("other", [{"k": 4}, {"identity": "n"}, {"shard_users": 3}])
def test_another_models_or_settings_recommendations_are_not_mixed_in(model, tmp_path, other, finished):
    going = recommend_all(AllUsers(model, "m", tmp_path / "recs", 3, 2))
    list(going) if finished else next(going)
    going.close()
    before = contents(tmp_path)
    with pytest.raises(ArtifactError, match="holds recommendations with another (k|model|shard_users)"):
        run(model, tmp_path / "recs", **other)
    assert contents(tmp_path) == before


def test_what_lies_there_already_stays(model, tmp_path):
    (tmp_path / "mine").write_text("precious")
    pq.write_table(pa.table({"mine": [1]}), tmp_path / "mine.parquet")
    (tmp_path / "folder").mkdir()
    (tmp_path / "new.shards").mkdir()
    (tmp_path / "new.shards" / "mine").write_text("precious")
    before = contents(tmp_path)
    for out in ("mine", "mine.parquet", "folder", "new"):
        with pytest.raises(ArtifactError, match="is there already, and holds no"):
            run(model, tmp_path / out)
    assert contents(tmp_path) == before


def test_a_model_without_users_has_nobody_to_recommend_to(model_folder, tmp_path):
    export(model_folder, tmp_path / "anonymous", users=False)
    with pytest.raises(LookupFailed, match="without its users"):
        run(ItemLanguageModel.from_pretrained(tmp_path / "anonymous"), tmp_path / "recs")
    assert not (tmp_path / "recs").exists()


def test_no_more_scores_are_held_than_those_of_one_pass(model, tmp_path, monkeypatch):
    asked: list[int] = []
    answer = ItemLanguageModel.answer
    monkeypatch.setattr(ItemLanguageModel, "answer", lambda self, each: asked.append(len(each)) or answer(self, each))
    monkeypatch.setattr(type(model.questions), "users", lambda self: ["alice", "bob", "1"] * 30)
    run(model, tmp_path / "recs", shard_users=90)
    assert sum(asked) == 90
    assert max(asked) == BATCH


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
