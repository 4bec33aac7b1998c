"""SASRec's network: equal to a plain computation, blind to the future and to padding; and on disk, whole or not."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from ilm.baselines.sasrec import SasRec, SasRecSizes, load_sasrec, save_sasrec
from ilm.errors import ArtifactError, ConfigError
from ilm.files import digest, read_json, write_json

ITEMS, SIZES = 9, SasRecSizes(width=4, layers=2, heads=2, max_length=5, dropout=0.5)


@pytest.fixture
def model():
    """With weights large enough for every part to matter."""
    torch.manual_seed(1)
    model = SasRec(ITEMS, SIZES)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return model.eval()


def plain_state(model, items):
    """Hidden state behind the last of `items`, row by row and head by head."""
    weights = model.state_dict()
    hidden = 2 * weights["item_embedding.weight"][items] + weights["position_embedding.weight"][-len(items) :]
    for layer in range(SIZES.layers):
        part = {
            name.removeprefix(f"transformer.layers.{layer}."): tensor
            for name, tensor in weights.items()
            if name.startswith(f"transformer.layers.{layer}.")
        }
        normed = F.layer_norm(hidden, (4,), part["norm1.weight"], part["norm1.bias"])
        projected = normed @ part["self_attn.in_proj_weight"].T + part["self_attn.in_proj_bias"]
        query, key, value = projected.split(4, dim=1)
        attended = torch.zeros_like(hidden)
        for head in (slice(0, 2), slice(2, 4)):
            for place in range(len(items)):
                logits = [float(query[place, head] @ key[at, head]) / math.sqrt(2) for at in range(place + 1)]
                shares = np.exp(logits) / np.exp(logits).sum()
                attended[place, head] = sum(float(s) * value[at, head] for at, s in enumerate(shares))
        hidden = hidden + attended @ part["self_attn.out_proj.weight"].T + part["self_attn.out_proj.bias"]
        normed = F.layer_norm(hidden, (4,), part["norm2.weight"], part["norm2.bias"])
        up = F.gelu(normed @ part["linear1.weight"].T + part["linear1.bias"])
        hidden = hidden + up @ part["linear2.weight"].T + part["linear2.bias"]
    last = hidden[-1]
    return F.layer_norm(last, (4,), weights["transformer.norm.weight"], weights["transformer.norm.bias"])


@pytest.mark.parametrize("items", [[3], [1, 8, 1], [5, 4, 3, 2, 0]])
def test_scores_are_those_of_a_plain_pre_norm_transformer(model, items):
    expected = plain_state(model, items) @ model.item_embedding.weight.T
    found = model.score("sequential", [np.array(items, np.int32)])
    torch.testing.assert_close(torch.from_numpy(found[0]), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_later_items_do_not_change_a_state(training):
    torch.manual_seed(2)
    model = SasRec(ITEMS, SasRecSizes(width=4, layers=2, heads=2, max_length=5, dropout=0.0)).train(training)
    items, lengths = torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([5])
    with torch.no_grad():
        before, after = model(items, lengths), model(torch.tensor([[1, 2, 3, 7, 0]]), lengths)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], after[:, 3:])


def test_what_stands_behind_the_end_does_not_matter(model):
    lengths = torch.tensor([2])
    with torch.no_grad():
        short = model(torch.tensor([[6, 3]]), lengths)
        padded = model(torch.tensor([[6, 3, 0, 0, 0]]), lengths)
        otherwise = model(torch.tensor([[6, 3, 8, 1, 2]]), lengths)
    torch.testing.assert_close(padded[:, :2], short)
    torch.testing.assert_close(otherwise[:, :2], short)


def test_only_the_latest_items_are_read(model):
    long = np.array([7, 7, 1, 2, 3, 4, 5], np.int32)
    np.testing.assert_allclose(model.score("", [long]), model.score("", [long[2:]]), rtol=1e-6)
    assert not np.allclose(model.score("", [long[2:]]), model.score("", [long[3:]]))


def test_order_matters(model):
    scores = model.score("", [np.array([1, 2], np.int32), np.array([2, 1], np.int32)])
    assert not np.allclose(scores[0], scores[1])


def test_the_layers_start_different_from_each_other():
    torch.manual_seed(0)
    first, second = SasRec(ITEMS, SIZES).transformer.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
    assert not torch.equal(first.self_attn.in_proj_weight, second.self_attn.in_proj_weight)


@pytest.mark.parametrize("sizes", [{"width": 5}, {"layers": 0}, {"max_length": 0}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_sizes_that_make_no_network_are_refused(sizes):
    with pytest.raises(ConfigError, match="sasrec"):
        SasRecSizes(**sizes)


@pytest.fixture
def saved(model, tmp_path):
    save_sasrec(tmp_path / "sasrec", model, [{"step": 0, "loss": 1.0}])
    return tmp_path / "sasrec"


def test_model_survives_the_disk(model, saved):
    loaded = load_sasrec(saved)
    history = [np.array([1, 2, 3], np.int32)]
    assert loaded.sizes == model.sizes
    assert np.array_equal(loaded.score("", history), model.score("", history))


def test_equal_models_give_equal_bytes(model, saved, tmp_path):
    save_sasrec(tmp_path / "again", model, [{"step": 0, "loss": 1.0}])
    assert digest(saved) == digest(tmp_path / "again")


@pytest.mark.parametrize("damage", ["missing", "truncated", "one tensor less", "one tensor more", "NaN"])
def test_damaged_weights_are_refused(saved, damage):
    path = saved / "model.safetensors"
    tensors = load_file(path)
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        if damage == "one tensor less":
            del tensors["item_embedding.weight"]
        elif damage == "one tensor more":
            tensors["surprise"] = torch.zeros(1)
        else:
            tensors["item_embedding.weight"][0, 0] = float("nan")
        save_file(tensors, path)
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        load_sasrec(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config | {"surprise": 1},
        lambda config: {"sizes": config["sizes"]},
        lambda config: config | {"sizes": config["sizes"] | {"surprise": 1}},
        lambda config: config | {"sizes": config["sizes"] | {"width": 3}},
        lambda config: config | {"items": None},
        lambda config: [],
    ],
)
def test_config_that_is_not_ours_is_refused(saved, change):
    write_json(saved / "config.json", change(read_json(saved / "config.json")))
    with pytest.raises(ArtifactError, match=r"config\.json"):
        load_sasrec(saved)


def test_config_with_another_number_of_items_is_refused(saved):
    write_json(saved / "config.json", read_json(saved / "config.json") | {"items": ITEMS + 1})
    with pytest.raises(ArtifactError, match="size mismatch"):
        load_sasrec(saved)
