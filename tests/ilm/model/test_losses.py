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


def test_symmetric_contrast_equals_hand_computed_value():
    similarity = torch.tensor([[1.0, 0.0], [0.5, 1.0]])
    rows = -math.log(math.e**2 / (math.e**2 + 1)) - math.log(math.e**2 / (math.e**2 + math.e))
    columns = -math.log(math.e**2 / (math.e**2 + math.e)) - math.log(math.e**2 / (math.e**2 + 1))
    loss = losses.symmetric_contrast(similarity, torch.eye(2, dtype=torch.bool), torch.tensor(0.5))
    assert loss.item() == pytest.approx((rows + columns) / 4, abs=1e-6)


def test_duplicates_in_a_batch_are_no_negatives():
    similarity = torch.ones(2, 2)
    same = torch.ones(2, 2, dtype=torch.bool)
    assert losses.symmetric_contrast(similarity, same, torch.tensor(1.0)).item() == 0.0


def test_hard_negatives_are_never_the_same_item_and_prefer_the_similar():
    similarity = torch.tensor([[9.0, 5.0, 0.0], [0.0, 9.0, 5.0], [5.0, 0.0, 9.0]]).repeat(100, 1)
    same = torch.eye(3, dtype=torch.bool).repeat(100, 1)
    drawn = losses.hard_negatives(similarity, same, torch.tensor(1.0), torch.Generator().manual_seed(0))
    own, similar = torch.arange(300) % 3, (torch.arange(300) + 1) % 3
    assert (drawn != own).all()
    assert (drawn == similar).float().mean() > 0.9


def test_matching_loss_averages_logits_over_queries():
    logits = torch.tensor([[[0.0, 2.0], [0.0, 0.0]], [[0.0, 2.0], [0.0, 0.0]]])
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2
    assert losses.matching_loss(logits, torch.tensor([True, False])).item() == pytest.approx(expected, abs=1e-6)


def test_generation_loss_leaves_ignored_targets_out():
    logits = torch.tensor([[0.0, 0.0], [100.0, -100.0]])
    assert losses.generation_loss(logits, torch.tensor([1, losses.IGNORED])).item() == pytest.approx(math.log(2))


def test_set_contrast_is_blind_to_what_all_items_share():
    torch.manual_seed(0)
    left, right, shared = torch.randn(6, 3, 4), torch.randn(6, 3, 4), 100 * torch.randn(4)
    same = torch.eye(6, dtype=torch.bool)
    plain = losses.set_contrast(left, right, same, torch.tensor(0.1))
    shifted = losses.set_contrast(left + shared, right + shared, same, torch.tensor(0.1))
    assert shifted.item() == pytest.approx(plain.item(), rel=1e-3)


def test_set_contrast_of_two_opposite_pairs_equals_hand_computed_value():
    sets = torch.tensor([[[1.0, 0.0]], [[-1.0, 0.0]]])
    loss = losses.set_contrast(sets, sets, torch.eye(2, dtype=torch.bool), torch.tensor(1.0))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)), abs=1e-6)


def test_query_cosine_is_one_for_equal_queries_and_zero_for_orthogonal_ones():
    assert losses.query_cosine(torch.ones(2, 3, 5)).item() == pytest.approx(1)
    assert losses.query_cosine(torch.eye(3)[None]).item() == pytest.approx(0)
