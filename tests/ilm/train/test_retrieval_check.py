"""The retrieval check on representations that are set by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from ilm.model.pretraining import TextBatch
from ilm.train.retrieval_check import retrieval_recall, sampled


class Table(nn.Module):
    """Stands for the Q-Former: an item's only query is its CF vector, a text's states are rows of a table."""

    def __init__(self, words):
        super().__init__()
        self.words = words

    def encode(self, vectors):
        return vectors[:, None]

    def embed_text(self, token_ids):
        return self.words[token_ids]

    def forward(self, cf_tokens, text, mask):
        assert cf_tokens is None
        return text


class Model(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.qformer = Table(words)
        self.query_projection = self.text_projection = nn.Identity()


def check(words, texts, text_items, asked, items=4):
    token_ids = torch.tensor(texts)
    text = TextBatch(token_ids, token_ids >= 0)
    return retrieval_recall(Model(words), torch.eye(items), torch.tensor(text_items), text, torch.tensor(asked))


def test_items_that_point_at_their_texts_are_all_found():
    found = check(torch.eye(4), [[0], [1], [2], [3]], [0, 1, 2, 3], [0, 1, 2, 3])
    assert found == {f"{way}_recall_at_{k}": 1.0 for way in ("item_to_text", "text_to_item") for k in (1, 10)}


def test_recall_counts_the_asked_items_that_are_found():
    """Items 0 and 1 have each other's texts."""
    found = check(torch.eye(4), [[1], [0], [2], [3]], [0, 1, 2, 3], [0, 1, 2])
    assert found["item_to_text_recall_at_1"] == found["text_to_item_recall_at_1"] == pytest.approx(1 / 3)
    assert found["item_to_text_recall_at_10"] == 1.0


def test_any_of_an_items_texts_is_its_own():
    found = check(torch.eye(4), [[3], [0], [1], [2]], [0, 0, 1, 2], [0])
    assert found["item_to_text_recall_at_1"] == 1.0
    assert found["text_to_item_recall_at_1"] == 0.0


def test_a_model_to_which_all_look_alike_finds_nothing():
    found = check(torch.ones(4, 4), [[0], [1], [2], [3]], [0, 1, 2, 3], [0, 1, 2, 3])
    assert found["item_to_text_recall_at_1"] == 0.0


def test_padding_does_not_count():
    words = torch.cat([torch.eye(4), 100 * torch.ones(1, 4)])
    text = TextBatch(torch.tensor([[0, 4], [1, 4]]), torch.tensor([[True, False], [True, False]]))
    found = retrieval_recall(Model(words), torch.eye(2, 4), torch.tensor([0, 1]), text, torch.tensor([0, 1]))
    assert found["item_to_text_recall_at_1"] == 1.0


def test_of_a_large_catalogue_a_sample_is_looked_among_with_all_that_are_asked_for():
    text_items = np.repeat(np.arange(60_000, dtype=np.int32), 2)
    asked = np.arange(1, 120_000, 20)

    items, chosen = sampled(text_items, 60_000, asked, seed=1)

    assert len(items) == len(set(items.tolist())) == 20_000 and (np.diff(items) > 0).all()
    assert len(chosen) == 2_000 and set(chosen.tolist()) <= set(asked.tolist())
    assert set(text_items[chosen].tolist()) <= set(items.tolist())
    assert [part.tolist() for part in sampled(text_items, 60_000, asked, seed=1)] == [items.tolist(), chosen.tolist()]
    assert not np.array_equal(sampled(text_items, 60_000, asked, seed=2)[0], items)


def test_of_a_small_catalogue_all_are_looked_among():
    items, chosen = sampled(np.arange(9, dtype=np.int32), 10, np.array([3, 5]), seed=1)
    assert items.tolist() == list(range(10)) and chosen.tolist() == [3, 5]
