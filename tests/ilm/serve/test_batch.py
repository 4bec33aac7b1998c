"""Recommendations for everybody: the model's own, whole or gone on with, and nothing foreign is overwritten."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ilm import ItemLanguageModel
from ilm.errors import ArtifactError
from ilm.files import digest
from ilm.serve.batch import recommend_all


@pytest.fixture(scope="module")
def model(model_folder: Path) -> ItemLanguageModel:
    return ItemLanguageModel.from_pretrained(model_folder)


def run(model: ItemLanguageModel, out: Path, k: int = 3, identity: str = "m", shard_users: int = 2) -> list:
    return list(recommend_all(model, identity, out, k, shard_users))


def test_every_user_gets_what_the_model_would_recommend(model, tmp_path):
    assert sum(users for users, _ in run(model, tmp_path / "recs.parquet")) == 3
    rows = pq.read_table(tmp_path / "recs.parquet").to_pylist()
    users = sorted(model.questions.users())
    wanted = [(user, rank, item) for user in users for rank, item in enumerate(model.rank(user=user, k=3), start=1)]
    assert [(row["user_id"], row["rank"], row["item_id"]) for row in rows] == [(u, r, i.item_id) for u, r, i in wanted]
    assert [row["score"] for row in rows] == pytest.approx([item.score for _, _, item in wanted], abs=1e-4)
    assert {path.name for path in (tmp_path / "recs.parquet").iterdir()} == {
        "part-00000.parquet", "part-00001.parquet", "_manifest.json", "_SUCCESS",
    }  # fmt: skip


def test_a_run_that_is_cut_short_is_gone_on_with_to_the_same_bytes(model, tmp_path):
    run(model, tmp_path / "whole")
    going = recommend_all(model, "m", tmp_path / "cut", 3, 2)
    assert next(going) == (2, True)
    next(going)  # the first shard is written, the second one's pass is done
    going.close()
    assert not (tmp_path / "cut" / "_SUCCESS").exists()
    assert not (tmp_path / "cut" / "part-00001.parquet").exists()
    assert run(model, tmp_path / "cut") == [(2, False), (1, True)]
    assert digest(tmp_path / "cut") == digest(tmp_path / "whole")
    assert run(model, tmp_path / "whole") == [(2, False), (1, False)]


@pytest.mark.parametrize("other", [{"k": 4}, {"identity": "n"}, {"shard_users": 3}])
def test_another_models_or_settings_recommendations_are_not_mixed_in(model, tmp_path, other):
    run(model, tmp_path / "recs")
    before = digest(tmp_path / "recs")
    with pytest.raises(ArtifactError, match="holds recommendations with another (k|model|shard_users)"):
        run(model, tmp_path / "recs", **other)
    assert digest(tmp_path / "recs") == before


def test_what_lies_there_already_stays(model, tmp_path):
    (tmp_path / "mine").write_text("precious")
    for out in (tmp_path, tmp_path / "mine"):
        with pytest.raises(ArtifactError, match="holds no recommendations"):
            run(model, out)
    assert (tmp_path / "mine").read_text() == "precious"
