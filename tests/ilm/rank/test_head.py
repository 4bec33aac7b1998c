"""Ranking by the retrieval head: the same numbers as one prompt at a time, and only for vectors of its own space."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from ilm.cf.factors import Factors
from ilm.cf.fold_in import UserFoldIn
from ilm.errors import ArtifactError
from ilm.model.encoders import describe
from ilm.model.storage import BridgeCard
from ilm.prompts.example import Example, Turn
from ilm.prompts.rendering import render
from ilm.prompts.templates import SEEN, TASKS, UNSEEN
from ilm.rank.head import HeadRecommender
from tests.ilm.train.conftest import ITEMS, WIDTH, build_bridge
from tests.tiny import plain_context, save_language_model

HISTORIES = [np.array(items, np.int32) for items in ([3], [1, 4, 5, 9, 2, 6], [7, 7, 8])]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return build_bridge(save_language_model(tmp_path_factory.mktemp("lm") / "tiny"))


@pytest.fixture
def factors():
    rng = np.random.default_rng(0)
    items, users = (rng.normal(size=(count, WIDTH)).astype(np.float32) for count in (ITEMS, 5))
    return Factors(items, users, "0" * 16, "i", "u", regularization=0.05, alpha=10.0, iterations=1, seed=0)


@pytest.fixture
def card(model):
    return BridgeCard(
        space_id="0" * 16, language_model="tiny", language_model_sha256="", items=ITEMS, soft_tokens=1,
        item_embedding=True, item_context=True, max_history=4, recipe="IT", encoder=describe(model.encoder),
    )  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_batched_scores_equal_one_prompt_at_a_time(model, card, factors, task):
    scores = HeadRecommender(model, card, factors, batch_size=2).score(task, HISTORIES)
    item_factors = torch.from_numpy(factors.item_factors)
    with torch.no_grad():
        table = model.head.table(model.encoder.encode(item_factors))
        for history, row in zip(HISTORIES, scores, strict=True):
            user = torch.from_numpy(UserFoldIn(factors.item_factors, 0.05, 10.0)([history]))
            prompt = render(model.language_model, [SEEN[task][0]], [history[-4:]], user, 1)
            item_soft = model.adapter(model.encoder.encode(item_factors[prompt.prompts.items]))
            user_queries = model.encoder.encode(user, users=True)
            states = model.hidden_states(prompt.prompts, item_soft, model.adapter(user_queries))
            context = plain_context(model.head, table, prompt.prompts.items.tolist(), user_queries[0])
            expected = model.head(states[0, -1], context, table)
            torch.testing.assert_close(torch.from_numpy(row), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_other_templates_are_asked_by_a_copy_and_change_the_scores(model, card, factors, task):
    recommender = HeadRecommender(model, card, factors)
    before = recommender.score(task, HISTORIES)
    unseen = recommender.asking(UNSEEN).score(task, HISTORIES)
    expected = recommender.score_examples(recommender.prompts.recommendations(task, HISTORIES, UNSEEN))
    np.testing.assert_array_equal(unseen, expected)
    assert np.abs(unseen - before).max() > 1e-6
    np.testing.assert_array_equal(recommender.score(task, HISTORIES), before)


def test_straightforward_scores_do_not_depend_on_the_order_of_the_history_but_sequential_ones_do(model, card, factors):
    recommender = HeadRecommender(model, card, factors)
    forward, backward = [np.array([1, 4, 9], np.int32)], [np.array([9, 4, 1], np.int32)]
    np.testing.assert_allclose(
        recommender.score("straightforward", forward), recommender.score("straightforward", backward), atol=1e-6
    )
    assert np.abs(recommender.score("sequential", forward) - recommender.score("sequential", backward)).max() > 1e-6


def test_vectors_of_another_space_are_refused(model, card, factors):
    with pytest.raises(ArtifactError, match="space"):
        HeadRecommender(model, replace(card, space_id="f" * 16), factors)


def test_a_catalogue_of_another_size_is_refused(model, card, factors):
    with pytest.raises(ArtifactError, match="12 items"):
        HeadRecommender(model, card, replace(factors, item_factors=factors.item_factors[:-1]))


def test_wishes_are_heard_in_conversations_and_nowhere_else(model, card, factors):
    hearing = deepcopy(model)
    recommender = HeadRecommender(hearing, card, factors)
    chat = [Example((Turn(("I want Comedy.",)),), HISTORIES[0])]
    ranked, chosen = recommender.score("sequential", HISTORIES), recommender.score_examples(chat)
    torch.nn.init.normal_(hearing.head.wish_projection.weight)
    np.testing.assert_array_equal(recommender.score("sequential", HISTORIES), ranked)
    assert np.abs(recommender.score_examples(chat) - chosen).max() > 0.1
