"""What is held out stays out, and every batch is a function of its number."""

import numpy as np

from ilm.train.sampling import ItemTextSampler, PairSampler


def test_held_out_items_never_enter_a_training_batch():
    text_items = np.repeat(np.arange(20, dtype=np.int32), 2)
    sampler = ItemTextSampler(text_items, held_out_fraction=0.25, seed=0)
    held_out = set(sampler.held_out.tolist())
    seen = {int(text_items[row]) for step in range(40) for row in sampler.batch(5, step)}
    assert len(held_out) == 5
    assert seen == set(range(20)) - held_out
    assert {int(text_items[row]) for batch in sampler.held_out_batches(2) for row in batch} <= held_out


def test_an_epoch_shows_each_item_once_and_later_epochs_its_other_texts():
    text_items = np.repeat(np.arange(8, dtype=np.int32), 2)
    sampler = ItemTextSampler(text_items, held_out_fraction=0.0, seed=0)
    epochs = [np.concatenate([sampler.batch(4, 2 * epoch + half) for half in (0, 1)]) for epoch in (0, 1)]
    for rows in epochs:
        assert sorted(text_items[rows]) == list(range(8))
    assert set(epochs[0]) | set(epochs[1]) == set(range(16))


def test_held_out_pairs_never_enter_a_training_batch_not_even_turned_round():
    pairs = np.array([(a, b) for a in range(6) for b in range(6) if a != b], np.int32)
    sampler = PairSampler(pairs, symmetric=True, held_out_fraction=0.4, seed=0)
    seen = {tuple(pair) for turn in range(20) for pair in sampler.batch(8, turn).tolist()}
    held_out = {tuple(pair) for pair in sampler.held_out.tolist()}
    assert len(held_out) == 12
    assert not seen & {(b, a) for a, b in held_out} and not seen & held_out
    assert seen | held_out == {tuple(pair) for pair in pairs.tolist()}


def test_users_and_items_of_equal_index_are_different_things():
    pairs = np.array([(0, 1), (1, 0)], np.int32)
    sampler = PairSampler(pairs, symmetric=False, held_out_fraction=0.5, seed=0)
    assert len(sampler.training) == len(sampler.held_out) == 1


def test_held_out_batches_are_of_one_size_and_shrink_to_what_there_is():
    text_items = np.arange(20, dtype=np.int32)
    sampler = ItemTextSampler(text_items, held_out_fraction=0.25, seed=0)
    assert [len(batch) for batch in sampler.held_out_batches(2)] == [2, 2]
    assert [len(batch) for batch in sampler.held_out_batches(64)] == [5]
    assert ItemTextSampler(text_items, held_out_fraction=0.05, seed=0).held_out_batches(2) == []
