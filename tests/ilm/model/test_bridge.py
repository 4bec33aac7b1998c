"""The bridge into the frozen language model."""

import copy

import numpy as np
import pytest
import torch

from ilm.model.bridge import Adapter
from ilm.model.head import HEAD_WIDTH
from ilm.prompts.rendering import render
from tests.ilm.train.conftest import build_bridge
from tests.tiny import save_language_model


@pytest.fixture(scope="module", params=[("llama", 1), ("llama", 2), ("gpt2", 1)], ids=str)
def ilm(request, tmp_path_factory):
    architecture, soft_tokens = request.param
    folder = save_language_model(tmp_path_factory.mktemp("lm") / architecture, architecture)
    return build_bridge(folder, soft_tokens=soft_tokens)


def rendered_batch(ilm, histories):
    soft = ilm.adapter.soft_tokens
    return render(
        ilm.language_model, ["a {history} {user}:"] * len(histories), histories, torch.zeros(len(histories), 4), soft
    )


def test_soft_tokens_fill_the_placeholders_in_order_and_words_stay_words(ilm):
    rendered = rendered_batch(ilm, [np.array([3, 1], np.int32), np.array([2], np.int32)])
    soft = ilm.adapter.soft_tokens
    items, users = torch.randn(3, soft, 16), torch.randn(2, soft, 16)
    embedded = ilm.embed(rendered.prompts, items, users)
    ids, lm = rendered.prompts.token_ids, ilm.language_model
    assert torch.equal(embedded[ids == lm.item_id], items.flatten(0, 1))
    assert torch.equal(embedded[ids == lm.user_id], users.flatten(0, 1))
    is_word = (ids != lm.item_id) & (ids != lm.user_id)
    assert torch.equal(embedded[is_word], lm.model.get_input_embeddings()(ids[is_word]))


def test_wrong_number_of_vectors_is_refused(ilm):
    rendered = rendered_batch(ilm, [np.array([3, 1], np.int32)])
    soft = ilm.adapter.soft_tokens
    with pytest.raises(ValueError, match="item placeholders"):
        ilm.embed(rendered.prompts, torch.randn(1, soft, 16), torch.randn(1, soft, 16))
    with pytest.raises(ValueError, match="user placeholders"):
        ilm.embed(rendered.prompts, torch.randn(2, soft, 16), torch.randn(2, soft, 16))


def test_a_prompt_means_the_same_alone_and_beside_a_longer_one(ilm):
    histories = [np.array([3], np.int32), np.array([5, 6, 7, 8], np.int32)]
    soft = ilm.adapter.soft_tokens
    items, users = torch.randn(5, soft, 16), torch.randn(2, soft, 16)
    together, alone = rendered_batch(ilm, histories), rendered_batch(ilm, histories[:1])
    both = ilm.hidden_states(together.prompts, items, users)[0, together.answer[0]]
    single = ilm.hidden_states(alone.prompts, items[:1], users[:1])[0, alone.answer[0]]
    torch.testing.assert_close(both, single, atol=1e-5, rtol=0)


def test_soft_tokens_start_centred_at_the_scale_of_the_words_and_item_vectors_at_unit_scale(ilm):
    torch.manual_seed(0)
    factors = torch.randn(12, 4)
    ilm.calibrate_items(ilm.encode_all(factors), factors.any(dim=1))
    queries = ilm.encode_all(factors)
    soft, table = ilm.adapter(queries), ilm.head.item_projection(queries.flatten(1))
    for values, scale in ((soft, ilm.language_model.embedding_scale), (table, 1.0)):
        assert values.flatten(0, -2).mean(dim=0).abs().max().item() < 1e-4
        assert values.square().mean().sqrt().item() == pytest.approx(scale, rel=1e-3)


def test_items_without_a_vector_have_no_part_in_the_start(ilm):
    torch.manual_seed(0)
    factors, other = torch.randn(12, 4), copy.deepcopy(ilm)
    ilm.calibrate_items(ilm.encode_all(factors), factors.any(dim=1))
    more = torch.cat([factors, torch.zeros(5, 4)])
    other.calibrate_items(other.encode_all(more), more.any(dim=1))
    for mine, theirs in ((ilm.adapter, other.adapter), (ilm.head.item_projection, other.head.item_projection)):
        for one, two in zip(mine.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(one, two)


def test_no_feature_of_a_hidden_state_reaches_the_head_larger_than_unit_scale(ilm):
    states = torch.randn(500, 16) * torch.logspace(-1, 1, 16) + 100
    ilm.calibrate_states(states)
    standard = (states - ilm.head.state_mean) / ilm.head.state_deviation
    average = states.std(dim=0).square().mean().sqrt()
    expected = (states.std(dim=0) / average).clamp_max(1.0)
    torch.testing.assert_close(standard.std(dim=0), expected, atol=1e-4, rtol=0)
    assert standard.mean(dim=0).abs().max().item() < 1e-3


def test_answers_start_as_the_ridge_regression_of_the_contexts(ilm):
    """Against the normal equations of each column, solved with a row of penalties below the sample."""
    torch.manual_seed(0)
    states, contexts = torch.randn(300, 16), torch.randn(300, HEAD_WIDTH)
    ilm.calibrate_states(states)
    ilm.calibrate_answers(states, contexts)
    inputs = np.hstack([ilm.head.standard(states).numpy(), np.ones((300, 1))]).astype(np.float64)
    penalty = np.sqrt(0.01 * np.square(inputs).sum(axis=0).mean())
    padded = np.vstack([inputs, penalty * np.eye(17)])
    expected, *_ = np.linalg.lstsq(padded, np.vstack([contexts.numpy(), np.zeros((17, HEAD_WIDTH))]), rcond=None)
    np.testing.assert_allclose(ilm.head.answer_projection.weight.detach().numpy(), expected[:-1].T, atol=1e-4)
    np.testing.assert_allclose(ilm.head.answer_projection.bias.detach().numpy(), expected[-1], atol=1e-4)


def test_each_soft_token_projects_its_own_group_of_queries():
    adapter = Adapter(queries=4, hidden=3, soft_tokens=2, width=5)
    queries = torch.randn(1, 4, 3)
    changed = queries.clone()
    changed[0, 3] += 1
    first, second = adapter(queries), adapter(changed)
    assert torch.equal(first[0, 0], second[0, 0])
    assert not torch.equal(first[0, 1], second[0, 1])


def test_state_dict_never_holds_the_language_model(ilm):
    held = sum(tensor.numel() for tensor in ilm.state_dict().values())
    assert held == sum(p.numel() for part in (ilm.encoder, ilm.adapter, ilm.head) for p in part.state_dict().values())
