"""Stage 2 on a toy world: frozen means frozen, resume, dense supervision, two architectures."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ilm.train.checkpoint import CheckpointStore
from ilm.train.loop import epoch_batch
from ilm.train.stage2 import Stage2, finetune
from tests.ilm.train.conftest import build_bridge
from tests.ilm.train.test_stage1 import Killed, killed_at
from tests.tiny import save_language_model


def test_training_leaves_the_language_model_bit_identical(ilm, stage2_data, finetune_params):
    before = ilm.language_model.weights_digest()
    finetune(ilm, stage2_data, finetune_params)
    assert ilm.language_model.weights_digest() == before
    assert all(parameter.grad is None for parameter in ilm.language_model.model.parameters())


def test_every_trained_parameter_moves_and_no_other_is_saved(ilm, stage2_data, finetune_params):
    before = {name: tensor.clone() for name, tensor in ilm.state_dict().items()}
    finetune(ilm, stage2_data, finetune_params)
    moved = {name for name, tensor in ilm.state_dict().items() if not torch.equal(tensor, before[name])}
    unmoved = set(before) - moved
    # Keys' biases shift all logits of a softmax alike and get no gradient beyond rounding.
    assert {name for name in unmoved if not name.endswith(("key.bias", "_scale"))} == set()
    assert not any("language_model" in name for name in before)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_training_lowers_the_loss_for_any_causal_language_model(architecture, stage2_data, finetune_params, tmp_path):
    model = build_bridge(save_language_model(tmp_path / architecture, architecture))
    params = finetune_params.model_copy(update={"steps": 60, "qformer_learning_rate": 1e-3})
    history = finetune(model, stage2_data, params)
    answers = [record["sequential_answer"] for record in history if "sequential_answer" in record]
    assert np.mean(answers[-5:]) < 0.85 * np.mean(answers[:5])


def test_resumed_training_equals_the_uninterrupted_one(language_model_folder, stage2_data, finetune_params, tmp_path):
    whole, interrupted, resumed = (build_bridge(language_model_folder) for _ in range(3))
    whole_history = finetune(whole, stage2_data, finetune_params)
    store = CheckpointStore(tmp_path, "key")
    with pytest.raises(Killed):
        finetune(interrupted, stage2_data, finetune_params, store, killed_at(6))
    history = finetune(resumed, stage2_data, finetune_params, store)
    assert history == whole_history
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_history_loss_asks_each_item_for_the_one_after_it(ilm, stage2_data, finetune_params):
    """Recomputed prompt by prompt, position by position, without the batch code. The Q-Former moves on after the table
    was encoded, as it does in training: rows of the batch's items must not be fresher than the others."""
    stage = Stage2(ilm, stage2_data, finetune_params)
    stage.losses(0)
    table = ilm.head.table(ilm.encode_all(stage.item_factors))
    with torch.no_grad():
        ilm.encoder.query_tokens.add_(torch.randn_like(ilm.encoder.query_tokens))
    losses = stage.losses(1)
    rows = epoch_batch(
        len(stage.data.examples["sequential"].targets), finetune_params.batch_size, 1, finetune_params.seed
    )
    expected = []
    for row in rows:
        history, target = (
            stage2_data.examples["sequential"].histories[row],
            stage2_data.examples["sequential"].targets[row],
        )
        rendered = stage._render("sequential", rows, [stage2_data.examples["sequential"].histories[r] for r in rows], 1)
        soft = ilm.adapter(ilm.encoder.encode(stage.item_factors[rendered.prompts.items]))
        users = ilm.adapter(ilm.encoder.encode(rendered.prompts.users, users=True))
        index = list(rows).index(row)
        states = ilm.hidden_states(rendered.prompts, soft, users)[index]
        places = (rendered.prompts.token_ids[index] == ilm.language_model.item_id).nonzero().squeeze(1)
        for place, following in zip(places, [*history[1:], target], strict=True):
            expected.append(F.cross_entropy(ilm.head(states[place], table), torch.tensor(int(following))))
    assert losses["sequential_history"].item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-4)


def test_item_biases_start_at_log_popularity(ilm, stage2_data, finetune_params, histories):
    finetune(ilm, stage2_data, finetune_params.model_copy(update={"steps": 1, "learning_rate": 1e-12}))
    counts = np.bincount(np.concatenate([history[1:] for history in histories]), minlength=12) + 1
    expected = np.log(counts / counts.sum())
    np.testing.assert_allclose(ilm.head.item_bias.detach().numpy(), expected, atol=1e-5)
