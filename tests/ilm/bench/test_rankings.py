"""Other ways of ranking a trained model: other words, generated names; no second training."""

import numpy as np
import pytest

from ilm.bench.diagnoses import DIAGNOSES
from ilm.bench.rankings import OTHER_RANKINGS, Ranked, diagnoses_of, ranking_of
from ilm.bench.systems import chosen_systems
from ilm.bench.training import Training
from ilm.bench.variants import varied
from ilm.cf.factors import Factors
from ilm.model.encoders import describe
from ilm.model.storage import BridgeCard
from ilm.params import Params
from ilm.prompts.indexes import spoken_names
from ilm.prompts.templates import FIRST, UNSEEN
from ilm.rank.generation import NOT_FOUND
from ilm.rank.names import name_tokens
from tests.ilm.rank.conftest import plain_log_likelihoods
from tests.ilm.train.conftest import ITEMS, TITLES, WIDTH, build_bridge
from tests.tiny import save_language_model

HISTORIES = [np.array(items, np.int32) for items in ([3], [1, 4, 5])]
INACTIVE = 11


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return build_bridge(save_language_model(tmp_path_factory.mktemp("lm") / "tiny"))


@pytest.fixture(scope="module")
def ranked():
    rng = np.random.default_rng(0)
    items, users = (rng.normal(size=(count, WIDTH)).astype(np.float32) for count in (ITEMS, 5))
    factors = Factors(items, users, "0" * 16, "i", "u", regularization=0.05, alpha=10.0, iterations=1, seed=0)
    return Ranked(factors, TITLES, np.arange(ITEMS) != INACTIVE, batch_size=2)


def card(model, index_seed=None):
    return BridgeCard(
        space_id="0" * 16, language_model="tiny", language_model_sha256="", items=ITEMS, soft_tokens=1,
        item_embedding=True, item_context=True, max_history=4, recipe="IT", encoder=describe(model.encoder),
        index_seed=index_seed,
    )  # fmt: skip


def test_unseen_prompts_are_asked_of_the_same_model(model, ranked):
    plain, unseen = (ranking_of(name)(model, card(model), ranked) for name in ("ilm", "ilm-unseen"))
    assert plain.templates == FIRST
    examples = unseen.prompts.recommendations("sequential", HISTORIES, UNSEEN)
    np.testing.assert_array_equal(unseen.score("sequential", HISTORIES), plain.score_examples(examples))


@pytest.mark.parametrize(("system", "index_seed"), [("ilm-titles", None), ("ilm-indexes", 5)])
def test_names_are_generated_as_the_model_was_trained_to_say_them(model, ranked, system, index_seed):
    recommender = ranking_of(system)(model, card(model, index_seed), ranked)
    scores = recommender.score("sequential", HISTORIES)
    prompts = recommender.prompts(recommender.prompts.recommendations("sequential", HISTORIES))
    names = name_tokens(model.language_model, spoken_names(TITLES, index_seed))
    expected = plain_log_likelihoods(model.language_model, names, *prompts).numpy()
    found = scores > NOT_FOUND
    assert found.sum(axis=1).min() >= 10
    assert not found[:, INACTIVE].any()
    np.testing.assert_allclose(scores[found], expected[found], atol=1e-4)


def test_asked_for_by_name_and_not_by_default():
    assert not set(OTHER_RANKINGS) & set(chosen_systems([]))
    assert list(chosen_systems(["ilm", *OTHER_RANKINGS])) == ["ilm", *OTHER_RANKINGS]


def test_only_index_strings_need_a_training_of_their_own(tmp_path, model):
    settings = Params().model_dump(by_alias=True)
    changes = {"ilm": {}} | {name: changes for name, (changes, _) in OTHER_RANKINGS.items()}
    for name in (
        "cf.safetensors",
        "catalogue.parquet",
        "examples.parquet",
        "user_item.parquet",
        "item_text.parquet",
        "item_item.parquet",
    ):
        (tmp_path / name).touch()
    keys = {
        name: Training(tmp_path, tmp_path / "out", varied(settings, changed, 0, name), name).key
        for name, changed in changes.items()
    }
    assert keys["ilm"] == keys["ilm-unseen"] == keys["ilm-titles"] != keys["ilm-indexes"]


def test_what_generation_does_not_have_is_not_taken_away():
    assert diagnoses_of("ilm") == diagnoses_of("ilm-unseen") == tuple(DIAGNOSES)
    assert diagnoses_of("ilm-titles") == ("", " - soft tokens")
