"""Ranking by generation as evaluation and serving use it: exact scores, seen items inside and outside the search."""

from dataclasses import replace

import numpy as np
import pytest

from ilm.cf.factors import Factors
from ilm.errors import ArtifactError
from ilm.eval.protocol import Cases, target_ranks
from ilm.model.encoders import describe
from ilm.model.storage import BridgeCard
from ilm.prompts.templates import TASKS
from ilm.rank.generation import NOT_FOUND, GenerationRecommender
from ilm.rank.names import name_tokens
from tests.ilm.rank.conftest import plain_log_likelihoods
from tests.ilm.train.conftest import ITEMS, TITLES, WIDTH, build_bridge
from tests.tiny import save_language_model

HISTORIES = [np.array(items, np.int32) for items in ([3], [1, 4, 5, 9, 2, 6], [7, 7, 8])]
ACTIVE = np.arange(ITEMS) != 11


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


@pytest.fixture
def recommender(model, card, factors):
    def build(beams, titles=TITLES, active=ACTIVE, batch_size=2):
        names = name_tokens(model.language_model, titles)
        return GenerationRecommender(model, card, factors, names, active, beams, batch_size)

    return build


@pytest.mark.parametrize("task", TASKS)
def test_exact_scores_are_those_of_one_plain_forward_per_history_and_title(recommender, model, task):
    generation = recommender(beams=ITEMS)
    prompts = generation.prompts(generation.prompts.recommendations(task, HISTORIES))
    names = name_tokens(model.language_model, TITLES)
    expected = plain_log_likelihoods(model.language_model, names, *prompts)
    np.testing.assert_allclose(generation.log_likelihoods(task, HISTORIES), expected.numpy(), atol=1e-4)


def test_wide_beams_score_all_active_items_exactly(recommender):
    generation = recommender(beams=ITEMS)
    scores = generation.score("sequential", HISTORIES)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(
        scores[:, ACTIVE], generation.log_likelihoods("sequential", HISTORIES)[:, ACTIVE], atol=1e-4
    )
    assert (scores[:, ~ACTIVE] == NOT_FOUND).all()


def test_candidates_score_as_among_all(recommender):
    generation = recommender(beams=1)
    candidates = np.array([[0, 5], [11, 2], [3, 3]])
    expected = np.take_along_axis(generation.log_likelihoods("sequential", HISTORIES), candidates, axis=1)
    np.testing.assert_allclose(generation.log_likelihoods("sequential", HISTORIES, candidates), expected, atol=1e-4)


def test_narrow_beams_still_fill_the_list_of_unseen_items(recommender):
    scores = recommender(beams=3).score("sequential", HISTORIES)
    for row, history in zip(scores, HISTORIES, strict=True):
        unseen = np.setdiff1d(np.flatnonzero(row > NOT_FOUND), history)
        assert len(unseen) >= 3
        assert ACTIVE[unseen].all()


def test_recommendations_are_active_unseen_and_best_first(recommender):
    for (items, scores), history in zip(
        recommender(beams=4).recommend("sequential", HISTORIES), HISTORIES, strict=True
    ):
        assert len(items) == 4
        assert not set(items) & (set(history) | {11})
        assert (np.diff(scores) <= 0).all()


def test_a_seen_items_namesake_is_found_without_it(recommender):
    titles = [*TITLES[:3], TITLES[3], TITLES[3], *TITLES[5:]]
    (items, _), *_ = recommender(beams=ITEMS, titles=titles).recommend("sequential", HISTORIES)
    assert set(items) == set(range(ITEMS)) - {3, 11}


def test_seen_items_are_recommended_on_request(recommender):
    (items, _), *_ = recommender(beams=ITEMS).recommend("sequential", HISTORIES, exclude_seen=False)
    assert set(items) == set(range(ITEMS)) - {11}


def test_evaluation_accepts_the_scores_and_lists_only_what_was_found(recommender):
    cases = Cases(np.arange(3, dtype=np.int32), np.array([0, 0, 0], np.int32), HISTORIES, HISTORIES)
    ranking = target_ranks(recommender(beams=10), "sequential", cases, ACTIVE, batch_size=2)
    for listed, history in zip(ranking.top, HISTORIES, strict=True):
        assert not set(listed.tolist()) & (set(history.tolist()) | {11})


def test_the_size_of_batches_does_not_matter(recommender):
    scores = recommender(beams=4, batch_size=3).score("sequential", HISTORIES)
    np.testing.assert_allclose(scores, recommender(beams=4, batch_size=1).score("sequential", HISTORIES), atol=1e-4)


def test_vectors_of_another_space_are_refused(model, card, factors):
    names = name_tokens(model.language_model, TITLES)
    with pytest.raises(ArtifactError, match="space"):
        GenerationRecommender(model, replace(card, space_id="f" * 16), factors, names, ACTIVE)


def test_names_for_another_number_of_items_are_refused(recommender):
    with pytest.raises(ValueError, match="12 items, but 11 names"):
        recommender(beams=2, titles=TITLES[:-1])
