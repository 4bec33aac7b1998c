"""The first part of stage 2: its loss by hand, shares that add up, noise by the step's number, and what stays."""

import pytest
import torch
from torch.nn import functional as F

from ilm.model.shards import WHOLE, Shard
from ilm.train import context
from ilm.train.context import ContextSteps, train_context
from ilm.train.distributed import ONE_CPU
from ilm.train.loop import epoch_batch
from tests.tiny import plain_context


@pytest.fixture
def steps(ilm, stage2_data, finetune_params):
    torch.manual_seed(3)
    torch.nn.init.normal_(ilm.head.item_context.attention.output.weight, std=0.05)
    torch.nn.init.normal_(ilm.head.item_embedding, std=0.5)
    item_queries = ilm.encode_all(torch.from_numpy(stage2_data.material.item_factors))
    return ContextSteps(ilm, item_queries, stage2_data.material, finetune_params, ONE_CPU)


def gradients(steps, step, parts):
    steps.model.zero_grad()
    losses = [steps.losses(step, part)["loss"] for part in parts]
    torch.stack(losses).sum().backward()
    found = {name: p.grad.clone() for name, p in steps.model.head.named_parameters() if p.grad is not None}
    return torch.stack(losses).sum().item(), found


def test_loss_asks_every_place_of_every_history_for_the_item_after_it(steps, finetune_params, monkeypatch):
    monkeypatch.setattr(context, "DROPOUT", 0.0)
    head, choices = steps.model.head, steps.material.choices["sequential"]
    table = head.table(steps.item_queries)
    expected = []
    for row in epoch_batch(len(choices.targets), finetune_params.context_batch_size, 1, finetune_params.seed):
        history, target = choices[int(row)]
        items = [*history[-steps.material.max_history :].tolist(), target]
        for count in range(1, len(items)):
            query = plain_context(head, table, items[:count], torch.zeros(2, 16))
            scores = query @ table.T + head.item_bias
            expected.append(F.cross_entropy(scores, torch.tensor(items[count])))
    assert steps.losses(1, WHOLE)["loss"].item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-5)


def test_shares_of_the_loss_and_of_its_gradient_add_up(steps):
    whole, expected = gradients(steps, 2, [WHOLE])
    halves, found = gradients(steps, 2, [Shard(0, 2), Shard(1, 2)])
    assert halves == pytest.approx(whole, rel=1e-6)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_noise_is_a_function_of_the_steps_number(steps, monkeypatch):
    assert steps.losses(1, WHOLE)["loss"].item() == steps.losses(1, WHOLE)["loss"].item()
    noisy = steps.losses(1, WHOLE)["loss"].item()
    monkeypatch.setattr(context, "DROPOUT", 0.0)
    assert steps.losses(1, WHOLE)["loss"].item() != noisy


def test_every_history_is_seen_once_per_epoch_and_only_the_heads_item_parts_learn(ilm, stage2_data, finetune_params):
    before = {name: tensor.clone() for name, tensor in ilm.state_dict().items()}
    logged = []
    epochs = finetune_params.context_epochs
    material = stage2_data.material
    item_queries = ilm.encode_all(torch.from_numpy(material.item_factors))
    train_context(
        ilm, item_queries, material, finetune_params, epochs, None, lambda _, step: logged.append(step), ONE_CPU
    )
    histories = len(stage2_data.material.choices["sequential"].targets)
    assert len(logged) * finetune_params.context_batch_size == epochs * histories
    moved = {name for name, tensor in ilm.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {"head.item_embedding", "head.item_bias", "head.item_projection.weight", "head.item_context.decay"} <= moved
    assert not any(name.startswith(("encoder.", "adapter.", "head.answer_projection")) for name in moved)
