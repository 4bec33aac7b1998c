"""The loop's parts: schedule, batches, checkpoints."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from ilm.errors import ArtifactError, TrainingDiverged
from ilm.train.checkpoint import CheckpointStore, training_key
from ilm.train.loop import Evaluation, Schedule, epoch_batch, optimizer_for, train


def test_schedule_warms_up_linearly_then_falls_as_half_a_cosine():
    schedule = Schedule(steps=10, warmup=2, checkpoint_every=5)
    assert [schedule.factor(step) for step in (0, 1)] == [0.5, 1.0]
    assert schedule.factor(6) == pytest.approx(0.5)
    assert schedule.factor(10) == pytest.approx(0.0)


def test_each_epoch_visits_every_row_once_even_when_batches_cross_its_end():
    rows = np.concatenate([epoch_batch(10, 4, step, seed=3) for step in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert list(rows[:10]) != list(rows[10:])


def test_biases_and_norms_are_not_decayed():
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    decayed, plain = optimizer_for([(model, 0.1)], weight_decay=0.5).param_groups
    assert [parameter.ndim for parameter in decayed["params"]] == [2]
    assert {parameter.ndim for parameter in plain["params"]} == {1}
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.5, 0.0)


def test_a_loss_that_is_not_finite_stops_the_training():
    model = nn.Linear(1, 1)
    with pytest.raises(TrainingDiverged, match="step 0"):
        train(
            "x",
            model,
            optimizer_for([(model, 0.1)]),
            lambda step, micro: {"loss": model.weight.sum() * math.nan},
            Schedule(1, 1, 1),
        )


@pytest.fixture
def trained():
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    optimizer = optimizer_for([(model, 0.1)])
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return model, optimizer


def test_checkpoint_restores_model_optimizer_and_history(trained, tmp_path):
    model, optimizer = trained
    store = CheckpointStore(tmp_path, "a")
    store.save(3, model, optimizer, [{"step": 0, "loss": 1.5}])
    other = nn.Linear(2, 2)
    other_optimizer = optimizer_for([(other, 0.1)])
    assert store.load(other, other_optimizer) == (3, [{"step": 0, "loss": 1.5}], None)
    assert torch.equal(other.weight, model.weight)
    ours, theirs = optimizer.state_dict()["state"], other_optimizer.state_dict()["state"]
    assert all(torch.equal(torch.as_tensor(ours[i][k]), torch.as_tensor(theirs[i][k])) for i in ours for k in ours[i])


def test_checkpoint_of_another_key_is_not_used_and_is_removed_at_the_next_save(trained, tmp_path):
    CheckpointStore(tmp_path, "old").save(3, *trained, [])
    new = CheckpointStore(tmp_path, "new")
    assert new.load(*trained) == (0, [], None)
    new.save(1, *trained, [])
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "progress.json"])
def test_truncated_checkpoint_is_refused(trained, tmp_path, file):
    store = CheckpointStore(tmp_path, "a")
    store.save(1, *trained, [])
    path = store.path / file
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(ArtifactError, match="Delete"):
        store.load(*trained)


def test_training_key_changes_with_settings_and_with_input_bytes(tmp_path):
    (tmp_path / "input").write_bytes(b"1")
    first = training_key([{"steps": 1}], [tmp_path / "input"])
    assert first == training_key([{"steps": 1}], [tmp_path / "input"])
    assert first != training_key([{"steps": 2}], [tmp_path / "input"])
    (tmp_path / "input").write_bytes(b"2")
    assert first != training_key([{"steps": 1}], [tmp_path / "input"])


class Killed(Exception):
    """Stands for kill -9 in the middle of a training."""


def train_with_patience(checkpoints=None, killed_at=None):
    """Held-out values 3, 1, 2, 5, 4 at every second step: the best is the second, patience 2 ends at the fourth."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    values = {2: 3.0, 4: 1.0, 6: 2.0, 8: 5.0, 10: 4.0}
    seen = {}
    done = 0

    def log(record, step):
        seen[step] = model.weight.detach().clone()
        if step == killed_at:
            raise Killed

    def losses(step, micro):
        nonlocal done
        done = step + 1
        return {"loss": (model(torch.ones(1, 3)) - 10).square().mean()}

    evaluation = Evaluation(lambda: {"held_out": torch.tensor(values[done])}, "held_out", 2)
    schedule = Schedule(10, 1, 2)
    history = train(
        "x", model, optimizer_for([(model, 0.1)]), losses, schedule, checkpoints, log, evaluation=evaluation
    )
    return model, history, seen


def test_patience_ends_training_and_keeps_the_weights_of_the_best_evaluation():
    model, history, seen = train_with_patience()
    assert len(history) == 8
    assert torch.equal(model.weight, seen[3])


@pytest.mark.parametrize("killed_at", [2, 4, 6])
def test_training_with_patience_that_was_killed_ends_with_the_same_weights(tmp_path, killed_at):
    whole, history, _ = train_with_patience()
    store = CheckpointStore(tmp_path, "a")
    with pytest.raises(Killed):
        train_with_patience(store, killed_at)
    resumed, resumed_history, _ = train_with_patience(store)
    assert resumed_history == history
    assert torch.equal(resumed.weight, whole.weight)


def test_training_that_had_ended_early_stays_ended(tmp_path):
    store = CheckpointStore(tmp_path, "a")
    whole, history, _ = train_with_patience(store)
    again, same, seen = train_with_patience(store)
    assert (same, seen) == (history, {})
    assert torch.equal(again.weight, whole.weight)


def test_held_out_value_that_is_not_finite_stops_the_training():
    model = nn.Linear(1, 1)
    evaluation = Evaluation(lambda: {"held_out": torch.tensor(math.inf)}, "held_out", 0)
    with pytest.raises(TrainingDiverged, match="held_out inf"):
        train(
            "x",
            model,
            optimizer_for([(model, 0.1)]),
            lambda step, micro: {"loss": model.weight.sum()},
            Schedule(1, 1, 1),
            evaluation=evaluation,
        )
