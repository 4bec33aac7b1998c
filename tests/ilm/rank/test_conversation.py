"""Answers of a batch are those of each conversation by itself; nothing seen, named or inactive is given."""

import numpy as np
import pytest

from ilm.cf.factors import Factors
from ilm.model.encoders import describe
from ilm.model.storage import BridgeCard
from ilm.prompts.catalogue import Catalogue
from ilm.rank.conversation import answer, best_items
from ilm.rank.head import HeadRecommender
from tests.ilm.train.conftest import ITEMS, TITLES, WIDTH, build_bridge
from tests.tiny import save_language_model

CATALOGUE = Catalogue([f"i{item}" for item in range(ITEMS)], TITLES, np.arange(ITEMS) != 11)
CONVERSATIONS = [
    [{"role": "user", "content": "Suggest something like comedy 4."}],
    [
        {"role": "user", "content": "Recommend something."},
        {"role": "assistant", "content": "Try horror 1."},
        {"role": "user", "content": "Something else, please."},
    ],
]
SEEN = [np.array([2, 5], np.int32), np.array([0], np.int32)]


@pytest.fixture(scope="module")
def ranker(tmp_path_factory):
    model = build_bridge(save_language_model(tmp_path_factory.mktemp("lm") / "tiny"))
    rng = np.random.default_rng(0)
    items, users = (rng.normal(size=(count, WIDTH)).astype(np.float32) for count in (ITEMS, 5))
    factors = Factors(items, users, "0" * 16, "i", "u", regularization=0.05, alpha=10.0, iterations=1, seed=0)
    card = BridgeCard(
        space_id="0" * 16, language_model="tiny", language_model_sha256="", items=ITEMS, soft_tokens=1,
        item_embedding=True, item_context=True, max_history=4, recipe="IT", encoder=describe(model.encoder),
    )  # fmt: skip
    return HeadRecommender(model, card, factors, batch_size=2)


def test_a_batch_is_its_conversations_one_by_one(ranker):
    together = answer(ranker, CATALOGUE, CONVERSATIONS, SEEN, 3)
    for found, messages, seen in zip(together, CONVERSATIONS, SEEN, strict=True):
        (alone,) = answer(ranker, CATALOGUE, [messages], [seen], 3)
        assert found.items == alone.items
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-5)


def test_all_that_is_left_is_given_best_first(ranker):
    first, second = answer(ranker, CATALOGUE, CONVERSATIONS, SEEN, 100)
    assert set(first.items) == set(range(ITEMS)) - {2, 5, 4, 11}
    assert set(second.items) == set(range(ITEMS)) - {0, 1, 11}
    assert (np.diff(first.scores[first.items]) <= 0).all()


def test_ties_stand_in_the_order_of_the_catalogue():
    scores = np.array([1, 2, 1, 2, 9], np.float32)
    assert best_items(scores, np.array([True, True, True, False, False]), 2) == [1, 0]
