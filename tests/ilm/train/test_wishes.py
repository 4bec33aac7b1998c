"""The head hears wishes: directions mean what they say, and the fit moves scores by as much."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.linear_model import Ridge

from ilm.prompts import attributes as prompts_attributes
from ilm.prompts.example import Example, Turn
from ilm.prompts.wishes import criteria, wished
from ilm.train.stage2 import Stage2
from ilm.train.wishes import GAIN, PENALTY, directions, learn_wishes
from tests.ilm.train.conftest import ITEMS, TITLES


def test_along_a_direction_items_that_have_it_lie_one_unit_further():
    torch.manual_seed(0)
    table, has = torch.randn(200, 8), torch.rand(200, 3) < 0.3
    along = table.double() @ directions(table, has)
    for number in range(3):
        mine = along[:, number]
        assert mine[has[:, number]].mean() - mine[~has[:, number]].mean() == pytest.approx(1.0)


def test_directions_are_those_of_ridge_regression():
    torch.manual_seed(0)
    table, has = torch.randn(200, 8), torch.rand(200, 3) < 0.3
    centred = (table - table.mean(dim=0)).double().numpy()
    penalty = PENALTY * np.square(centred).sum(axis=0).mean()
    found = Ridge(alpha=penalty).fit(centred, has.numpy().astype(float)).coef_.T
    ours = directions(table, has).numpy()
    for mine, other in zip(ours.T, found.T, strict=True):
        assert mine @ other / np.linalg.norm(mine) / np.linalg.norm(other) == pytest.approx(1.0)


@pytest.mark.parametrize("value", [True, False])
def test_what_all_items_have_or_none_has_no_direction(value):
    assert torch.equal(
        directions(torch.randn(20, 4), torch.full((20, 1), value)), torch.zeros(4, 1, dtype=torch.float64)
    )


GENRES = ["Comedy" if item % 2 == 0 else "Horror" for item in range(ITEMS)]

MESSAGE = [Example((Turn(("I want Comedy.",)),))]


@pytest.fixture
def stage(ilm, stage2_data, finetune_params, monkeypatch):
    monkeypatch.setattr(prompts_attributes, "COMMON_ITEMS", 2)
    columns = {"item_index": range(ITEMS), "title": TITLES, "active": [True] * ITEMS, "genres": GENRES}
    material = replace(stage2_data.material, attributes=prompts_attributes.attributes(pa.table(columns)))
    stage = Stage2(ilm, replace(stage2_data, material=material), finetune_params)
    ilm.calibrate_items(stage.item_queries, stage.item_factors.any(dim=1))
    stage.calibrate_head()
    return stage


def scores(stage: Stage2, examples: list[Example]) -> np.ndarray:
    """Of all items, where the last answers begin."""
    rendered = stage.mixture.render(examples)
    states, _ = stage.states(rendered)
    table = stage.model.head.table(stage.model.encode_all(stage.item_factors))
    asked = states[torch.arange(len(examples)), rendered.answer]
    return stage.model.head(asked, None, table, torch.ones(len(examples), dtype=torch.bool)).detach().numpy()


def test_what_messages_ask_for_gains_and_what_they_refuse_loses(stage):
    material = stage.mixture.material
    found = criteria(material.attributes)
    drawn = wished(material, found, 200, stage.params.seed)
    examples, wanted = [wish.example for wish in drawn], np.stack([wish.wanted for wish in drawn])
    before = scores(stage, examples)
    learn_wishes(stage, 200)
    change = scores(stage, examples) - before
    number = found.asked.index(("value", "Comedy"))
    has = found.has[:, number]
    gain = change[:, has].mean(axis=1) - change[:, ~has].mean(axis=1)
    horror = found.asked.index(("value", "Horror"))
    heard = np.corrcoef(gain, wanted[:, number] - wanted[:, horror])[0, 1]
    assert 0.2 < heard < 1  # a tiny random language model hears little
    assert np.abs(gain).max() < 2 * GAIN


def test_nothing_is_learned_from_no_prompts(stage):
    before = scores(stage, MESSAGE)
    learn_wishes(stage, 0)
    np.testing.assert_array_equal(scores(stage, MESSAGE), before)
    assert not stage.model.head.wish_projection.weight.any()


def test_a_catalogue_that_says_nothing_leaves_the_projection_at_zero(ilm, stage2_data, finetune_params):
    stage = Stage2(ilm, stage2_data, finetune_params)
    learn_wishes(stage, 20)
    assert not ilm.head.wish_projection.weight.any()


def test_what_is_learned_depends_on_the_seed_alone(stage):
    learn_wishes(stage, 50)
    first = stage.model.head.wish_projection.weight.clone()
    learn_wishes(stage, 50)
    assert torch.equal(stage.model.head.wish_projection.weight, first)
