"""Models on disk come back bit for bit, or not at all."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from ilm.errors import ArtifactError
from ilm.files import digest, read_json, write_json
from ilm.model.encoders import describe
from ilm.model.storage import BridgeCard, load_bridge, save_bridge
from tests.ilm.train.conftest import ITEMS, build_bridge
from tests.tiny import save_language_model


@pytest.fixture(scope="module")
def language_model_folder(tmp_path_factory):
    return save_language_model(tmp_path_factory.mktemp("lm") / "tiny")


@pytest.fixture
def saved(language_model_folder, tmp_path):
    model = build_bridge(language_model_folder)
    card = BridgeCard(
        space_id="0" * 16,
        language_model=str(language_model_folder),
        language_model_sha256=model.language_model.sha256,
        items=ITEMS,
        soft_tokens=1,
        item_embedding=True,
        item_context=True,
        max_history=4,
        recipe="IT",
        encoder=describe(model.encoder),
    )
    save_bridge(tmp_path / "ilm", model, card, [{"step": 0, "loss": 1.0}])
    return model, card, tmp_path / "ilm"


def test_model_and_card_survive_the_disk(saved):
    model, card, folder = saved
    loaded, loaded_card = load_bridge(folder)
    assert loaded_card == card
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_equal_models_give_equal_bytes(saved, tmp_path):
    model, card, folder = saved
    save_bridge(tmp_path / "again", model, card, [{"step": 0, "loss": 1.0}])
    assert digest(folder) == digest(tmp_path / "again")


def test_language_model_with_other_weights_is_refused(saved, tmp_path):
    model, card, _ = saved
    save_bridge(tmp_path / "other", model, replace(card, language_model_sha256="f" * 64), [])
    with pytest.raises(ArtifactError, match="trained with"):
        load_bridge(tmp_path / "other")


@pytest.mark.parametrize("damage", ["missing", "truncated", "one tensor less", "one tensor more", "NaN"])
def test_damaged_weights_are_refused(saved, damage):
    path = saved[2] / "model.safetensors"
    tensors = load_file(path)
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        if damage == "one tensor less":
            del tensors["head.item_bias"]
        elif damage == "one tensor more":
            tensors["surprise"] = torch.zeros(1)
        else:
            tensors["head.item_bias"][0] = float("nan")
        save_file(tensors, path)
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        load_bridge(saved[2])


@pytest.mark.parametrize("change", [{"surprise": 1}, {"items": None}])
def test_config_with_an_unknown_or_missing_key_is_refused(saved, change):
    config = read_json(saved[2] / "config.json") | change
    write_json(saved[2] / "config.json", {key: value for key, value in config.items() if value is not None})
    with pytest.raises(ArtifactError, match=r"config\.json"):
        load_bridge(saved[2])
