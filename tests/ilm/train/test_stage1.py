"""Stage 1 on a toy world: literal losses, resume, held-out items, recipes."""

import numpy as np
import pytest
import torch

from ilm.errors import ConfigError
from ilm.model.shards import WHOLE
from ilm.train.checkpoint import CheckpointStore
from ilm.train.distributed import ONE_CPU, Hardware
from ilm.train.stage1 import interaction_kinds, pretrain


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
    assert history[0]["itm"] == pytest.approx(0.664066, abs=1e-4)
    assert history[1]["ii"] == pytest.approx(8.329651, abs=1e-4)


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


def test_stage_1_reports_held_out_losses_their_sum_and_the_retrieval_check(stage1_data, model_params, pretrain_params):
    _, history = pretrain(stage1_data, model_params, pretrain_params)
    evaluated = [record for record in history if "held_out_loss" in record]
    assert [record["step"] for record in evaluated] == [3, 7, 11]
    parts = [evaluated[-1][f"held_out_{name}"] for name in ("itc", "itm", "itg", "ii")]
    assert evaluated[-1]["held_out_loss"] == pytest.approx(sum(parts), rel=1e-5)
    assert 0 <= history[-1]["item_to_text_recall_at_1"] <= history[-1]["item_to_text_recall_at_10"] <= 1
    assert "text_to_item_recall_at_10" in history[-1]
    assert (history[-1]["retrieval_items"], history[-1]["retrieval_texts"]) == (12, 12)


def test_retrieval_is_checked_among_a_sample_of_a_large_catalogue(
    stage1_data, model_params, pretrain_params, monkeypatch
):
    monkeypatch.setattr("ilm.train.retrieval_check.MOST_ITEMS", 6)
    monkeypatch.setattr("ilm.train.retrieval_check.MOST_ASKED", 2)
    _, history = pretrain(stage1_data, model_params, pretrain_params)
    assert history[-1]["retrieval_items"] == 6
    assert history[-1]["item_to_text_recall_at_10"] == history[-1]["text_to_item_recall_at_10"] == 1.0  # of six


def test_early_stop_without_held_out_data_is_refused(stage1_data, model_params, pretrain_params):
    params = pretrain_params.model_copy(update={"held_out_fraction": 0.0, "early_stop_patience": 2})
    with pytest.raises(ConfigError, match="held_out_fraction"):
        pretrain(stage1_data, model_params, params)


def test_a_diverging_held_out_loss_ends_stage_1_early(stage1_data, model_params, pretrain_params):
    """Overfitting a handful of texts raises the held-out loss."""
    update = {"steps": 200, "early_stop_patience": 2, "checkpoint_every": 10, "learning_rate": 1e-2, "recipe": "IT"}
    _, history = pretrain(stage1_data, model_params, pretrain_params.model_copy(update=update))
    values = [record["held_out_loss"] for record in history if "held_out_loss" in record]
    assert len(history) < 200
    assert min(values) == values[-3]


def test_bf16_losses_are_close_to_fp32(stage1_data, model_params, pretrain_params):
    hardware = Hardware(ONE_CPU.device, WHOLE, "bf16")
    _, exact = pretrain(stage1_data, model_params, pretrain_params)
    encoder, rounded = pretrain(stage1_data, model_params, pretrain_params, hardware=hardware)
    for name in ("itc", "itm", "itg"):
        assert rounded[0][name] == pytest.approx(exact[0][name], rel=0.03)
        assert rounded[0][name] != exact[0][name]
    assert all(parameter.dtype == torch.float32 for parameter in encoder.parameters())


def test_micro_batches_mean_their_losses(stage1_data, model_params, pretrain_params):
    """Contrast is within the micro-batch: of 6 rows 3 compete, so it is easier; ln 3 instead of ln 6."""
    params = pretrain_params.model_copy(update={"paired_rows": 2, "gradient_accumulation": 2, "steps": 1})
    _, history = pretrain(stage1_data, model_params, params)
    assert history[0]["itc"] == pytest.approx(np.log(3), abs=0.3)
