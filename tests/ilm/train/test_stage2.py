"""Stage 2 on a toy world: frozen means frozen, resume, dense supervision, two architectures."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ilm.errors import ConfigError
from ilm.prompts.tasks import TASKS
from ilm.train.checkpoint import CheckpointStore
from ilm.train.stage2 import Stage2, finetune
from tests.ilm.train.conftest import build_bridge
from tests.ilm.train.test_stage1 import Killed, killed_at
from tests.tiny import plain_context, save_language_model

NO_GRADIENT = ("key.bias", "item_projection.bias")
"""They shift all logits of a softmax alike: no gradient beyond rounding, of which Adam makes steps."""
LEARNING = {"encoder_learning_rate": 3e-5}


def test_training_leaves_the_language_model_bit_identical(ilm, stage2_data, finetune_params):
    before = ilm.language_model.weights_digest()
    finetune(ilm, stage2_data, finetune_params)
    assert ilm.language_model.weights_digest() == before
    assert all(parameter.grad is None for parameter in ilm.language_model.model.parameters())


def test_every_trained_parameter_moves_and_no_other_is_saved(ilm, stage2_data, finetune_params):
    before = {name: tensor.clone() for name, tensor in ilm.state_dict().items()}
    finetune(ilm, stage2_data, finetune_params.model_copy(update=LEARNING))
    moved = {name for name, tensor in ilm.state_dict().items() if not torch.equal(tensor, before[name])}
    unmoved = set(before) - moved
    # Keys' biases shift all logits of a softmax alike and get no gradient beyond rounding.
    # A catalogue of titles alone has nothing to wish for (tests/ilm/train/test_wishes.py).
    unlearned = ("key.bias", "scales.items", "scales.users", "wish_projection.weight", "wish_projection.bias")
    assert {name for name in unmoved if not name.endswith(unlearned)} == set()
    assert not any("language_model" in name for name in before)


def test_encoder_without_a_learning_rate_stays_as_it_was(ilm, stage2_data, finetune_params):
    before = {name: tensor.clone() for name, tensor in ilm.encoder.state_dict().items()}
    finetune(ilm, stage2_data, finetune_params)
    assert all(torch.equal(tensor, before[name]) for name, tensor in ilm.encoder.state_dict().items())


def test_language_model_adds_to_item_vectors_and_context_that_stay_as_they_were_learned_alone(
    language_model_folder, stage2_data, finetune_params
):
    short, long = (build_bridge(language_model_folder) for _ in range(2))
    finetune(short, stage2_data, finetune_params.model_copy(update={"steps": 1}))
    finetune(long, stage2_data, finetune_params)
    learned = {"answer_projection.weight", "answer_projection.bias", "blend", "item_context.user_strength"}
    for name, tensor in long.head.state_dict().items():
        assert torch.equal(tensor, short.head.state_dict()[name]) == (name not in learned), name


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_training_lowers_the_loss_for_any_causal_language_model(architecture, stage2_data, finetune_params, tmp_path):
    model = build_bridge(save_language_model(tmp_path / architecture, architecture))
    params = finetune_params.model_copy(update={"steps": 60, "encoder_learning_rate": 1e-3, "item_context": False})
    history = finetune(model, stage2_data, params)
    answers = [record["sequential_answer"] for record in history if "sequential_answer" in record]
    assert np.mean(answers[-5:]) < 0.85 * np.mean(answers[:5])


def test_resumed_training_equals_the_uninterrupted_one(language_model_folder, stage2_data, finetune_params, tmp_path):
    whole, interrupted, resumed = (build_bridge(language_model_folder) for _ in range(3))
    finetune_params = finetune_params.model_copy(update={"mixture": dict.fromkeys(TASKS, 1)})
    whole_history = finetune(whole, stage2_data, finetune_params)
    store = CheckpointStore(tmp_path, "key")
    with pytest.raises(Killed):
        finetune(interrupted, stage2_data, finetune_params, store, killed_at(6))
    history = finetune(resumed, stage2_data, finetune_params, store)
    assert history == whole_history
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_history_loss_asks_each_item_for_the_one_after_it(ilm, stage2_data, finetune_params):
    """Recomputed prompt by prompt, position by position, without the batch code. The Q-Former moves on after the table
    was encoded, as it does in training: rows of the batch's items must not be fresher than the others."""
    stage = Stage2(ilm, stage2_data, finetune_params.model_copy(update={"mixture": {"sequential": 1}} | LEARNING))
    stage.losses(0)
    table = ilm.head.table(ilm.encode_all(stage.item_factors))
    with torch.no_grad():
        ilm.encoder.query_tokens.add_(torch.randn_like(ilm.encoder.query_tokens))
    losses = stage.losses(1)
    expected = []
    for example in stage.mixture.batch(1)[1]:
        prompts = stage.mixture.render([example]).prompts
        soft = ilm.adapter(ilm.encoder.encode(stage.item_factors[prompts.items]))
        users = ilm.encoder.encode(prompts.users, users=True)
        (states,) = ilm.hidden_states(prompts, soft, ilm.adapter(users))
        places = (prompts.token_ids[0] == ilm.language_model.item_id).nonzero().squeeze(1)
        (turn,) = example.turns
        items = prompts.items.tolist()
        for count, (place, following) in enumerate(zip(places, [*items[1:], turn.target], strict=True), start=1):
            context = plain_context(ilm.head, table, items[:count], users[0])
            expected.append(F.cross_entropy(ilm.head(states[place], context, table), torch.tensor(following)))
    assert losses["sequential_history"].item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-4)


def test_language_loss_is_nats_per_token_of_the_titles(ilm, stage2_data, finetune_params):
    """Recomputed from the language model's own loss."""
    stage = Stage2(ilm, stage2_data, finetune_params.model_copy(update={"mixture": {"title": 1}}))
    losses = stage.losses(0)
    total, tokens = 0.0, 0
    for example in stage.mixture.batch(0)[1]:
        rendered = stage.mixture.render([example])
        prompts = rendered.prompts
        soft = ilm.adapter(ilm.encoder.encode(stage.item_factors[prompts.items]))
        users = ilm.adapter(ilm.encoder.encode(prompts.users, users=True))
        labels = prompts.token_ids.clone()
        labels[:, : int(rendered.answer) + 1] = -100
        out = ilm.language_model.model(inputs_embeds=ilm.embed(prompts, soft, users), labels=labels)
        count = int((labels != -100).sum())
        total, tokens = total + out.loss.item() * count, tokens + count
    assert losses["title_language"].item() == pytest.approx(total / tokens, rel=1e-4)
    kinds = ("answer", "history", "answer_alone", "history_alone")
    retrieval = sum(losses[f"title_{kind}"] for kind in kinds)
    expected = retrieval + finetune_params.language_loss_weight * losses["title_language"]
    assert losses["loss"].item() == pytest.approx(expected.item())


def test_item_biases_start_at_log_popularity(ilm, stage2_data, finetune_params, histories):
    params = finetune_params.model_copy(update={"steps": 1, "head_learning_rate": 1e-12, "item_context": False})
    finetune(ilm, stage2_data, params)
    counts = np.bincount(np.concatenate(histories), minlength=12) + 1
    expected = np.log(counts / counts.sum())
    np.testing.assert_allclose(ilm.head.item_bias.detach().numpy(), expected, atol=1e-5)


def test_all_tasks_train_together_and_their_held_out_answers_are_measured(ilm, stage2_data, finetune_params):
    mixture = dict.fromkeys(TASKS, 1)
    history = finetune(ilm, stage2_data, finetune_params.model_copy(update={"mixture": mixture, "steps": len(TASKS)}))
    last = history[-1]
    spoken = set(TASKS) - {"sequential", "straightforward"}
    assert {key for key in last if key.startswith("held_out_")} == {
        f"held_out_{task}_language{blind}" for task in spoken for blind in ("", "_blind")
    }
    trained = [key for record in history for key in record if not key.startswith("held_out_")]
    assert {key.removesuffix("_language") for key in trained if key.endswith("_language")} == spoken
    asked = {key.removesuffix("_answer") for key in trained if key.endswith("_answer")}
    assert asked == {"sequential", "straightforward", "title", "conversation"}


def test_soft_tokens_carry_what_held_out_answers_say_of_users_and_items(ilm, stage2_data, finetune_params):
    params = finetune_params.model_copy(
        update={"mixture": {"sequential": 1, "description": 4}, "steps": 150, "encoder_learning_rate": 1e-2,
                "language_loss_weight": 1.0, "max_answer_tokens": 6}
    )  # fmt: skip
    last = finetune(ilm, stage2_data, params)[-1]
    assert last["held_out_description_language"] < last["held_out_description_language_blind"]


def test_a_step_in_two_micro_batches_is_the_same_step(language_model_folder, stage2_data, finetune_params):
    whole, halves = (build_bridge(language_model_folder) for _ in range(2))
    params = finetune_params.model_copy(update={"mixture": dict.fromkeys(TASKS, 1), "step_tokens": 600})
    history = finetune(whole, stage2_data, params)
    accumulated = finetune(halves, stage2_data, params.model_copy(update={"gradient_accumulation": 2}))
    for one, two in zip(history, accumulated, strict=True):
        assert two == pytest.approx(one, rel=1e-4)
    for name, tensor in whole.state_dict().items():
        if not name.endswith(NO_GRADIENT):
            torch.testing.assert_close(halves.state_dict()[name], tensor, rtol=1e-4, atol=5e-5, msg=name)


def test_a_step_of_few_prompts_in_more_micro_batches_is_the_same_step(
    language_model_folder, stage2_data, finetune_params
):
    whole, cut = (build_bridge(language_model_folder) for _ in range(2))
    params = finetune_params.model_copy(update={"mixture": dict.fromkeys(TASKS, 1), "item_context": False})
    history = finetune(whole, stage2_data, params)
    accumulated = finetune(cut, stage2_data, params.model_copy(update={"gradient_accumulation": 5}))
    for one, five in zip(history, accumulated, strict=True):
        assert five == pytest.approx(one, rel=1e-4)


def test_batch_that_cannot_be_cut_equally_is_refused(ilm, stage2_data, finetune_params):
    params = finetune_params.model_copy(update={"gradient_accumulation": 3})
    with pytest.raises(ConfigError, match="4 rows cannot be cut into 3"):
        finetune(ilm, stage2_data, params)
