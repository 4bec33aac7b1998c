"""Stage 1 on a toy world: literal losses, resume, held-out items, recipes."""

import numpy as np
import pytest
import torch

from ilm.train.checkpoint import CheckpointStore
from ilm.train.stage1 import ItemTextSampler, interaction_kinds, pretrain


class Killed(Exception):
    """Stands for kill -9 in the middle of a training."""


def killed_at(step):
    def log(values, at):
        if at == step:
            raise Killed

    return log


def test_first_losses_are_these_numbers(stage1_data, model_params, pretrain_params):
    _, history = pretrain(stage1_data, model_params, pretrain_params)
    assert history[0]["itc"] == pytest.approx(1.795963, abs=1e-4)
    assert history[0]["itg"] == pytest.approx(3.088351, abs=1e-4)
    assert history[1]["ii"] == pytest.approx(5.487739, abs=1e-4)


def test_training_lowers_every_loss(stage1_data, model_params, pretrain_params):
    params = pretrain_params.model_copy(
        update={"steps": 240, "recipe": "IT-II-UI", "held_out_fraction": 0.0, "learning_rate": 5e-3}
    )
    _, history = pretrain(stage1_data, model_params, params)
    for loss in ("itc", "itm", "itg", "ii", "ui"):
        values = [record[loss] for record in history if loss in record]
        assert np.mean(values[-20:]) < np.mean(values[:20]), loss


def test_resumed_training_equals_the_uninterrupted_one(stage1_data, model_params, pretrain_params, tmp_path):
    whole, whole_history = pretrain(stage1_data, model_params, pretrain_params)
    store = CheckpointStore(tmp_path, "key")
    with pytest.raises(Killed):
        pretrain(stage1_data, model_params, pretrain_params, store, killed_at(6))
    resumed, history = pretrain(stage1_data, model_params, pretrain_params, store)
    assert history == whole_history
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_recipe_none_trains_nothing(stage1_data, model_params, pretrain_params):
    first, history = pretrain(stage1_data, model_params, pretrain_params.model_copy(update={"recipe": "none"}))
    assert history == []
    assert (
        torch.equal(first.query_tokens, pretrain(stage1_data, model_params, pretrain_params)[0].query_tokens) is False
    )


@pytest.mark.parametrize(
    ("recipe", "kinds"),
    [("IT", []), ("IT-II", ["item-item"]), ("IT-UI", ["user-item"]), ("IT-II-UI", ["item-item", "user-item"])],
)
def test_recipe_names_its_interaction_losses(recipe, kinds):
    assert interaction_kinds(recipe) == kinds


def test_held_out_items_never_enter_a_training_batch():
    text_items = np.repeat(np.arange(20, dtype=np.int32), 2)
    sampler = ItemTextSampler(text_items, held_out_fraction=0.25, seed=0)
    held_out = set(sampler.held_out.tolist())
    seen = {int(text_items[row]) for step in range(40) for row in sampler.batch(5, step)}
    assert len(held_out) == 5
    assert seen == set(range(20)) - held_out


def test_an_epoch_shows_each_item_once_and_later_epochs_its_other_texts():
    text_items = np.repeat(np.arange(8, dtype=np.int32), 2)
    sampler = ItemTextSampler(text_items, held_out_fraction=0.0, seed=0)
    epochs = [np.concatenate([sampler.batch(4, 2 * epoch + half) for half in (0, 1)]) for epoch in (0, 1)]
    for rows in epochs:
        assert sorted(text_items[rows]) == list(range(8))
    assert set(epochs[0]) | set(epochs[1]) == set(range(16))
