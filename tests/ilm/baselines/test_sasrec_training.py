"""SASRec's training: every position once, the plain loss, the same bits after a kill, and a sequence learnt."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ilm.baselines import sasrec_training
from ilm.baselines.curve import read_curve, recording
from ilm.baselines.sasrec import SasRec, SasRecSizes
from ilm.baselines.sasrec_training import HeldOut, SasRecSteps, SasRecTraining, cut, train_sasrec, training_of
from ilm.errors import ConfigError, DataError
from ilm.eval.metrics import hr_at_k, ndcg_at_k
from ilm.eval.protocol import Cases, target_ranks
from ilm.model.shards import WHOLE, Shard
from ilm.params import SasRecParams
from ilm.train.checkpoint import CheckpointStore

ITEMS = 12
SIZES = SasRecSizes(width=8, layers=2, heads=2, max_length=4, dropout=0.3)
TRAINING = SasRecTraining(SIZES, epochs=6, batch_size=6, learning_rate=0.01, warmup=2, patience=0, seed=3)
RNG = np.random.default_rng(0)
LOGS = [RNG.permutation(ITEMS)[:length].astype(np.int32) for length in (1, 2, 5, 6, 11, 3, 9)]
HELD_OUT = HeldOut(LOGS, np.array([(set(range(ITEMS)) - set(log)).pop() for log in LOGS], np.int32))
BOUNDS = np.cumsum([0, *(len(log) for log in LOGS)])


def steps(training=TRAINING):
    """Of a model whose weights are large enough to tell items apart."""
    torch.manual_seed(0)
    model = SasRec(ITEMS, training.sizes)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return SasRecSteps(model, LOGS, HELD_OUT, training)


@pytest.mark.parametrize("max_length", [1, 3, 4, 100])
def test_windows_ask_for_every_item_but_a_users_first_exactly_once(max_length):
    starts, lengths = cut(BOUNDS, max_length)
    asked = np.concatenate([start + 1 + np.arange(length) for start, length in zip(starts, lengths, strict=True)])
    assert sorted(asked) == sorted(set(range(BOUNDS[-1])) - set(BOUNDS[:-1]))
    assert lengths.max() <= max_length


def test_windows_are_cut_from_the_end_of_a_sequence_on():
    starts, lengths = cut(np.array([0, 0, 6, 7, 10]), 2)
    assert list(zip(starts, lengths, strict=True)) == [(4 - 1, 2), (1, 2), (0, 1), (7, 2)]


def test_loss_is_the_mean_cross_entropy_of_the_item_after_each_position():
    windows = list(zip(*cut(BOUNDS, SIZES.max_length), strict=True))
    stage = steps(replace(TRAINING, sizes=replace(SIZES, dropout=0.0), batch_size=len(windows)))
    items, nats = torch.from_numpy(np.concatenate(LOGS)).long(), []
    for start, length in windows:
        states = stage.model(items[start : start + length][None], torch.tensor([length]))[0]
        for place in range(length):
            scores = torch.stack([states[place] @ vector for vector in stage.model.item_embedding.weight])
            nats.append(scores.exp().sum().log() - scores[items[start + place + 1]])
    torch.testing.assert_close(stage.losses(0, WHOLE)["loss"], torch.stack(nats).mean())


def test_micro_batches_add_up_to_the_step():
    stage = steps(replace(TRAINING, sizes=replace(SIZES, dropout=0.0)))
    parts = [stage.losses(1, Shard(index, 3))["loss"] for index in range(3)]
    torch.testing.assert_close(sum(parts), stage.losses(1, WHOLE)["loss"])


def test_steps_are_cut_into_as_many_parts_as_their_scores_need(monkeypatch):
    assert steps().schedule().micro_batches == 1
    monkeypatch.setattr(sasrec_training, "SCORES_AT_ONCE", 6 * 4 * ITEMS // 2 - 1)
    assert steps().schedule().micro_batches == 3
    monkeypatch.setattr(sasrec_training, "SCORES_AT_ONCE", 1)
    assert steps().schedule().micro_batches == 6


def test_dropout_is_the_steps_own_and_leaves_the_global_generator_alone():
    stage = steps()
    torch.manual_seed(5)
    first, drawn = stage.losses(4, WHOLE)["loss"], torch.rand(1)
    torch.manual_seed(6)
    assert torch.equal(stage.losses(4, WHOLE)["loss"], first)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), drawn)


def test_dropout_differs_between_steps_and_between_parts():
    stage = steps(replace(TRAINING, batch_size=2))
    stage.starts, stage.lengths = stage.starts[[3, 3]], stage.lengths[[3, 3]]  # one window, twice
    halves = [float(stage.losses(step, Shard(index, 2))["loss"].detach()) for step in range(2) for index in range(2)]
    assert len(set(halves)) == 4


def test_held_out_values_are_those_of_the_protocol():
    stage = steps()
    stage.model.eval()
    measured = stage.measure()
    scores = torch.from_numpy(stage.model.score("", LOGS))
    nats = scores.exp().sum(dim=1).log() - scores[torch.arange(len(LOGS)), torch.from_numpy(HELD_OUT.targets).long()]
    torch.testing.assert_close(measured["held_out_loss"], nats.mean())
    cases = Cases(np.arange(len(LOGS), dtype=np.int32), HELD_OUT.targets, LOGS, LOGS)
    ranks = target_ranks(stage.model, "", cases, np.ones(ITEMS, np.bool_), 3).filtered
    assert float(measured["held_out_hr_at_10"]) == pytest.approx(hr_at_k(ranks, 10).mean())
    assert float(measured["held_out_ndcg_at_10"]) == pytest.approx(ndcg_at_k(ranks, 10).mean())


class Killed(Exception):
    """Stands for kill -9 in the middle of a training."""


def kill_at(step):
    def log(values, now):
        if now == step:
            raise Killed

    return log


@pytest.mark.parametrize("patience", [0, 2])
@pytest.mark.parametrize("step", [2, 7])
def test_training_that_was_killed_ends_with_the_same_bits(tmp_path, patience, step):
    training = replace(TRAINING, patience=patience)
    torch.manual_seed(98)
    whole, history = train_sasrec(LOGS, HELD_OUT, ITEMS, training)
    store = CheckpointStore(tmp_path, "a")
    with pytest.raises(Killed):
        train_sasrec(LOGS, HELD_OUT, ITEMS, training, store, kill_at(step))
    torch.manual_seed(99)
    resumed, resumed_history = train_sasrec(LOGS, HELD_OUT, ITEMS, training, store)
    assert resumed_history == history
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_another_seed_gives_another_model():
    first, second = (train_sasrec(LOGS, HELD_OUT, ITEMS, replace(TRAINING, seed=seed))[0] for seed in (0, 1))
    assert not torch.equal(first.item_embedding.weight, second.item_embedding.weight)


def test_training_ends_when_held_out_targets_are_told_worse_and_worse():
    _, history = train_sasrec(LOGS, HELD_OUT, ITEMS, replace(TRAINING, epochs=60, patience=3, learning_rate=0.05))
    losses = [record["held_out_loss"] for record in history if "held_out_loss" in record]
    assert len(losses) < 60
    assert losses.index(min(losses)) == len(losses) - 4


def test_a_cycle_is_learnt_from_every_start():
    cycle = np.random.default_rng(1).permutation(ITEMS).astype(np.int32)
    rounds = np.tile(cycle, 3)
    logs = [rounds[start : start + 4 + start % 7] for start in range(ITEMS)]
    held_out = HeldOut(logs, np.array([rounds[start + len(log)] for start, log in enumerate(logs)], np.int32))
    sizes = SasRecSizes(width=16, layers=1, heads=2, max_length=6, dropout=0.1)
    training = SasRecTraining(sizes, epochs=40, batch_size=8, learning_rate=0.01, warmup=5, patience=0)
    model, _ = train_sasrec(logs, held_out, ITEMS, training)
    starts = [rounds[start : start + length] for start in range(ITEMS) for length in (1, 3, 9)]
    following = [rounds[start + length] for start in range(ITEMS) for length in (1, 3, 9)]
    hits = model.score("", starts).argmax(axis=1) == following
    assert hits.mean() > 0.95


def test_curve_goes_on_where_a_killed_training_does(tmp_path):
    """Whatever was recorded behind the saved state happens again, and stands there once."""
    store, path = CheckpointStore(tmp_path / "states", "a"), tmp_path / "curve.jsonl"
    with pytest.raises(Killed):
        train_sasrec(LOGS, HELD_OUT, ITEMS, TRAINING, store, recording(path, "sasrec", kill_at(7)))
    before = read_curve(path)
    path.write_text(path.read_text() + '{"step": 9, "seconds": 99.0}\n')
    _, history = train_sasrec(LOGS, HELD_OUT, ITEMS, TRAINING, store, recording(path, "sasrec", lambda *_: None))
    curve = read_curve(path)
    checks = [record for record in history if "held_out_loss" in record]
    assert 0 < len(before) < len(checks)
    assert curve[: len(before)] == before
    assert [check["step"] - 1 for check in curve] == [check["step"] for check in checks]
    assert [check["hr_at_10"] for check in curve] == [check["held_out_hr_at_10"] for check in checks]
    seconds = [check["seconds"] for check in curve]
    assert seconds == sorted(seconds)


def test_settings_are_the_section_and_a_seed():
    training = training_of(SasRecParams(width=8, max_length=4, epochs=3).model_dump(), seed=4)
    assert training == SasRecTraining(SasRecSizes(width=8, max_length=4), epochs=3, warmup=50, seed=4)


@pytest.mark.parametrize("changes", [{"hidden": 3}, {"width": None}])
def test_settings_of_another_version_are_refused(changes):
    settings = {name: value for name, value in (SasRecParams().model_dump() | changes).items() if value is not None}
    with pytest.raises(ConfigError, match=r"another version \((hidden|width)\). Run `ilm export-features` again"):
        training_of(settings, seed=0)


@pytest.mark.parametrize("setting", ["epochs", "batch_size", "check_every"])
def test_training_of_nothing_is_refused(setting):
    with pytest.raises(ConfigError, match=f"{setting}=0"):
        SasRecTraining(**{setting: 0})


def test_users_with_one_item_are_nothing_to_learn_from():
    with pytest.raises(DataError, match="no user has two items"):
        train_sasrec(LOGS[:1], HELD_OUT, ITEMS, TRAINING)


def test_without_held_out_targets_nothing_tells_when_to_stop():
    with pytest.raises(DataError, match="valid part"):
        train_sasrec(LOGS, HeldOut([], np.zeros(0, np.int32)), ITEMS, TRAINING)
