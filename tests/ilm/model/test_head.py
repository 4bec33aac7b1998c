"""The retrieval head: item vectors, item context, scores."""

import pytest
import torch
from torch.nn import functional as F

from ilm.model.head import HEAD_WIDTH, RetrievalHead
from tests.ilm.model.test_item_context import places


def head(**changes):
    torch.manual_seed(0)
    sizes = {"width": 16, "queries": 2, "hidden": 8, "items": 3, "item_embedding": True, "item_context": True}
    made = RetrievalHead(**(sizes | changes))
    torch.nn.init.normal_(made.answer_projection.weight)
    return made


def test_scores_are_dot_products_of_item_vectors_with_blended_states_plus_context_plus_bias():
    made = head()
    torch.nn.init.normal_(made.item_bias)
    torch.nn.init.normal_(made.item_embedding)
    made.state_mean.fill_(3.0)
    made.state_deviation.fill_(2.0)
    states, context = torch.randn(2, 16), torch.randn(2, HEAD_WIDTH)
    table = made.table(torch.randn(3, 2, 8))
    said = [made.answer_projection((state - 3.0) / 2.0 / 4.0) for state in states]
    queries = [0.25 * query + extra for query, extra in zip(said, context, strict=True)]
    expected = [[(q * t).sum() + b for t, b in zip(table, made.item_bias, strict=True)] for q in queries]
    torch.testing.assert_close(made(states, context, table), torch.tensor(expected), atol=1e-4, rtol=1e-4)
    alone = [[(q * t).sum() + b for t, b in zip(table, made.item_bias, strict=True)] for q in said]
    torch.testing.assert_close(made(states, None, table), torch.tensor(alone), atol=1e-4, rtol=1e-4)


def test_an_item_vector_is_a_direction_plus_the_items_own_part():
    made, queries = head(), torch.randn(3, 2, 8)
    torch.testing.assert_close(made.table(queries).norm(dim=1), torch.ones(3))
    with torch.no_grad():
        made.item_embedding[1] += 2.0
    torch.testing.assert_close(made.table(queries)[1] - made.vectors(queries)[1], torch.full((HEAD_WIDTH,), 2.0))


def test_head_without_item_embedding_has_nothing_per_item():
    assert not any(3 in parameter.shape for parameter in head(item_embedding=False).parameters())


def test_head_without_queries_tells_items_apart_from_the_start():
    table = head(queries=0, hidden=0).table(torch.zeros(3, 0, 0))
    assert table.shape == (3, HEAD_WIDTH)
    assert (F.cosine_similarity(table[0], table[1], dim=0) < 0.5).item()


def test_head_with_neither_queries_nor_embedding_is_refused():
    with pytest.raises(ValueError, match="item_embedding is all there is"):
        head(queries=0, hidden=0, item_embedding=False)


def test_prompts_without_any_item_have_contexts_of_their_users():
    made = head()
    queries = torch.randn(2, 2, 8)
    rows, positions = torch.tensor([0, 1]), torch.tensor([5, 5])
    found = made.context(torch.randn(3, HEAD_WIDTH), places(), rows, positions, queries, torch.tensor([0, 1]))
    torch.testing.assert_close(found, 12.0 * made.vectors(queries))


def test_head_without_item_context_has_none():
    made = head(item_context=False)
    nothing = torch.zeros(0, dtype=torch.int64)
    assert made.context(torch.randn(3, HEAD_WIDTH), places(), nothing, nothing, torch.zeros(0, 2, 8), nothing) is None


def test_where_a_prompt_shows_neither_items_nor_a_user_the_words_count_in_full():
    made = head()
    table, states = made.table(torch.randn(3, 2, 8)), torch.randn(1, 16)
    torch.testing.assert_close(made(states, torch.zeros(1, HEAD_WIDTH), table), made(states, None, table))


def test_kept_items_stay_while_what_states_and_users_say_goes_on_learning():
    made = head()
    made.keep_items()
    learning = {name for name, parameter in made.named_parameters() if parameter.requires_grad}
    assert learning == {"answer_projection.weight", "answer_projection.bias", "blend", "item_context.user_strength"}
