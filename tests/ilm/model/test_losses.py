"""Stage-1 losses against hand-computed values."""

import math

import pytest
import torch

from ilm.model import losses


def test_query_text_similarity_takes_the_closest_query():
    queries = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [-1.0, 0.0]]])
    text = torch.tensor([[3.0, 0.0], [0.0, -1.0]])
    expected = torch.tensor([[1.0, 0.0], [math.sqrt(0.5), 0.0]])
    torch.testing.assert_close(losses.query_text_similarity(queries, text), expected)


def test_contrast_equals_hand_computed_values():
    similarity = torch.tensor([[1.0, 0.0, 0.5], [0.5, 1.0, 1.0]])
    same = torch.tensor([[True, False, False], [False, True, False]])
    loss = losses.contrast(similarity, same, torch.tensor([0, 1]), torch.tensor(0.5))
    first = -math.log(math.e**2 / (math.e**2 + 1 + math.e))
    second = -math.log(math.e**2 / (math.e + 2 * math.e**2))
    assert loss.tolist() == pytest.approx([first, second], abs=1e-6)


def test_duplicates_in_a_batch_are_no_negatives():
    similarity = torch.ones(2, 2)
    same = torch.ones(2, 2, dtype=torch.bool)
    assert losses.contrast(similarity, same, torch.arange(2), torch.tensor(1.0)).tolist() == [0.0, 0.0]


def test_hard_negatives_are_never_the_same_item_and_prefer_the_similar():
    similarity = torch.tensor([[9.0, 5.0, 0.0], [0.0, 9.0, 5.0], [5.0, 0.0, 9.0]]).repeat(100, 1)
    same = torch.eye(3, dtype=torch.bool).repeat(100, 1)
    noise = torch.empty(300, 3).exponential_(generator=torch.Generator().manual_seed(0))
    drawn = losses.hard_negatives(similarity, same, torch.tensor(1.0), noise)
    own, similar = torch.arange(300) % 3, (torch.arange(300) + 1) % 3
    assert (drawn != own).all()
    assert (drawn == similar).float().mean() > 0.7


def test_negatives_are_drawn_half_by_their_share_of_the_softmax_and_half_evenly():
    similarity = torch.tensor([[0.0, math.log(3.0), 0.0]]).repeat(4000, 1)
    same = torch.tensor([[True, False, False]]).repeat(4000, 1)
    noise = torch.empty(4000, 3).exponential_(generator=torch.Generator().manual_seed(0))
    drawn = losses.hard_negatives(similarity, same, torch.tensor(1.0), noise)
    assert (drawn == 1).float().mean().item() == pytest.approx((0.75 + 0.5) / 2, abs=0.02)


def test_matching_loss_averages_logits_over_queries():
    logits = torch.tensor([[[0.0, 2.0], [0.0, 0.0]], [[0.0, 2.0], [0.0, 0.0]]])
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2
    assert losses.matching_loss(logits, torch.tensor([True, False])).item() == pytest.approx(expected, abs=1e-6)


def test_generation_loss_sums_and_leaves_ignored_targets_out():
    logits = torch.tensor([[0.0, 0.0], [100.0, -100.0], [0.0, 0.0]])
    loss = losses.generation_loss(logits, torch.tensor([1, losses.IGNORED, 0]))
    assert loss.item() == pytest.approx(2 * math.log(2))


def test_centred_sets_are_blind_to_what_all_items_share():
    torch.manual_seed(0)
    sets, shared = torch.randn(6, 4), 100 * torch.randn(4)
    torch.testing.assert_close(losses.centred(sets + shared), losses.centred(sets), rtol=1e-3, atol=1e-4)


def test_centred_sets_of_two_items_are_opposite_unit_vectors():
    expected = torch.tensor([[0.6, 0.8], [-0.6, -0.8]])
    torch.testing.assert_close(losses.centred(torch.tensor([[7.0, 9.0], [1.0, 1.0]])), expected)


def test_query_cosine_is_one_for_equal_queries_and_zero_for_orthogonal_ones():
    assert losses.query_cosine(torch.ones(2, 3, 5)).item() == pytest.approx(1)
    assert losses.query_cosine(torch.eye(3)[None]).item() == pytest.approx(0)
