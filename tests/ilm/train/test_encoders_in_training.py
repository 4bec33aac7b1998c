"""Both training stages with every encoder, from settings to a model that ranks; and settings that contradict it."""

from pathlib import Path

import numpy as np
import pytest
from small_logs import FakeStep

from ilm.cf import factors as cf_factors
from ilm.errors import ConfigError
from ilm.files import read_json
from ilm.model.storage import load_bridge, load_encoder
from ilm.params import Params, load_params
from ilm.rank.head import HeadRecommender
from ilm.train.stage1 import Stage1Data
from ilm.train.stage1 import pretrain as pretrain_encoder
from tasks import finetune, paths, pretrain
from tests.tiny_project import write_project

SPEAKING = {"description": 0.0, "attributes": 0.0, "comparison": 0.0, "why": 0.0}
SETTINGS = {
    "qformer": {"pretrain": {"recipe": "IT"}},
    "qformer at random": {"pretrain": {"recipe": "none"}},
    "mlp": {"pretrain": {"recipe": "none"}, "model": {"encoder": "mlp"}},
    "text": {"pretrain": {"recipe": "none"}, "model": {"encoder": "text"}},
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_both_stages_train_a_model_that_ranks(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mixture = Params().finetune.mixture | (SPEAKING if kind == "text" else {})
    project = write_project(tmp_path / "project", finetune={"mixture": mixture}, **SETTINGS[kind])
    monkeypatch.chdir(project)
    step = FakeStep(load_params())
    pretrain.run(step)
    start, card = load_encoder(paths.PRETRAINED)
    assert card.encoder["kind"] == kind.split()[0]
    assert (read_json(paths.PRETRAINED / "history.json") == []) is (card.recipe == "none")
    finetune.run(step)
    model, card_after = load_bridge(paths.FINETUNED)
    assert card_after.encoder == card.encoder
    moved = [not np.array_equal(a, b) for a, b in zip(start.parameters(), model.encoder.parameters(), strict=True)]
    assert not moved or sum(moved) > len(moved) / 2
    ranker = HeadRecommender(model, card_after, cf_factors.load(paths.CF_FACTORS))
    scores = ranker.score("sequential", [np.array([1, 2, 3], np.int32), np.array([7, 8], np.int32)])
    assert scores.shape == (2, card_after.items)
    assert np.isfinite(scores).all()
    assert not np.array_equal(scores[0], scores[1])


def test_items_of_a_text_only_model_stand_in_prompts_by_their_titles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixture = Params().finetune.mixture | SPEAKING
    monkeypatch.chdir(write_project(tmp_path / "project", finetune={"mixture": mixture}, **SETTINGS["text"]))
    step = FakeStep(load_params())
    pretrain.run(step)
    finetune.run(step)
    model, _ = load_bridge(paths.FINETUNED)
    assert model.item_names is not None
    import pyarrow.parquet as pq

    titles = pq.read_table(paths.CATALOGUE)["title"].to_pylist()
    written = model.language_model.tokenizer.decode(model.item_names[3][model.item_names[3] >= 0])
    assert written == f" {titles[3][:14]},"


@pytest.mark.parametrize(
    ("settings", "messages"),
    [
        ({"model": {"encoder": "mlp"}}, ["pretrain.recipe must be none (it is IT-II)"]),
        (
            {"model": {"encoder": "mlp", "soft_tokens": 2}, "pretrain": {"recipe": "none"}},
            ["model.soft_tokens must be 1 (it is 2)"],
        ),
        (
            {"model": {"encoder": "text"}, "finetune": {"item_embedding": False}},
            [
                "pretrain.recipe must be none (it is IT-II)",
                "finetune.item_embedding must be true",
                "finetune.mixture must not have description, attributes, comparison, why",
            ],
        ),
    ],
)
def test_settings_that_contradict_the_encoder_are_said_at_once(
    settings: dict[str, object], messages: list[str], tmp_path: Path
) -> None:
    import yaml

    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigError) as refused:
        load_params(tmp_path / "params.yaml")
    assert [message for message in messages if message not in str(refused.value)] == []
    assert "with model.encoder" in str(refused.value)


def test_stage_1_of_an_encoder_that_has_none_is_refused_where_settings_were_not_checked() -> None:
    params = Params().model
    factors = np.ones((3, 4), np.float32)
    nothing = np.zeros((0, 2), np.int32)
    data = Stage1Data(factors, factors, np.arange(3, dtype=np.int32), ["a", "b", "c"], nothing, nothing)
    with pytest.raises(ConfigError, match=r"pretrain\.recipe must be none"):
        pretrain_encoder(data, params.model_copy(update={"encoder": "mlp"}), Params().pretrain)
