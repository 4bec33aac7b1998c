"""Which task a step has, and its batch: by weight, by budget, and the same however often it is asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilm.params import FinetuneParams
from ilm.prompts.rendering import Renderer
from ilm.prompts.tasks import TASKS
from ilm.train.mixture import Mixture, turns

WEIGHTS = st.dictionaries(st.sampled_from(list(TASKS)), st.sampled_from([0.5, 1, 3, 54]), min_size=1)


@given(WEIGHTS, st.integers(1, 60))
def test_after_any_number_of_steps_every_task_has_its_share(weights, steps):
    found = turns(weights, steps)
    for task, weight in weights.items():
        share = steps * weight / sum(weights.values())
        assert abs([name for name, _ in found].count(task) - share) < len(weights)


@given(WEIGHTS, st.integers(1, 40))
def test_a_task_counts_its_own_turns_and_more_steps_change_none(weights, steps):
    found = turns(weights, steps)
    for task in weights:
        assert [turn for name, turn in found if name == task] == list(range(sum(name == task for name, _ in found)))
    assert turns(weights, steps + 5)[:steps] == found


def test_a_task_without_weight_has_no_turn():
    assert {task for task, _ in turns({"sequential": 2, "title": 1, "why": 0}, 30)} == {"sequential", "title"}


@pytest.fixture
def mixture(ilm, stage2_data, finetune_params):
    params = finetune_params.model_copy(update={"mixture": dict.fromkeys(TASKS, 1), "step_tokens": 700})
    return Mixture(stage2_data.material, stage2_data.fold_in, Renderer(ilm.language_model, 1, 12), params)


def test_batches_have_about_the_tokens_of_a_step(mixture):
    for task, size in mixture.sizes.items():
        tokens = mixture.render(mixture.examples(task, 0, size)).prompts.token_ids.numel()
        assert 0.4 * 700 < tokens < 1.3 * 700, task
        assert size in {1, 2, 3, 4, 6, 8, 12, 16, 24, 32}


def test_a_batch_is_the_same_whenever_it_is_made_and_changes_from_turn_to_turn(mixture):
    first, again, next_ = (mixture.examples("why", turn, 4) for turn in (3, 3, 4))
    assert [example.turns for example in first] == [example.turns for example in again]
    assert [example.turns for example in first] != [example.turns for example in next_]


def test_every_row_has_its_turn_once_per_epoch(mixture, stage2_data):
    items = [example.turns[0].ask for turn in range(3) for example in mixture.examples("description", turn, 3)]
    shown = [piece.index for ask in items for piece in ask if hasattr(piece, "index") and not isinstance(piece, str)]
    assert sorted(shown) == stage2_data.material.items.tolist()


def test_user_vectors_are_folded_in_from_the_profile_alone(mixture, stage2_data):
    examples = [example for example in mixture.examples("conversation", 0, 20) if len(example.turns) == 1]
    rendered = mixture.render(examples)
    expected = stage2_data.fold_in([example.profile for example in examples])
    shows = (rendered.prompts.token_ids == mixture.renderer.language_model.user_id).any(dim=1).numpy()
    np.testing.assert_array_equal(rendered.prompts.users.numpy(), expected[shows])
    targets = [example.turns[0].target for example in examples]
    assert not any(target in example.profile for target, example in zip(targets, examples, strict=True))


def test_negative_weight_is_refused():
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        FinetuneParams(mixture={"sequential": -1})
