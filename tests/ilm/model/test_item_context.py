"""The item context: recency-weighted means, and attention over the items before a place."""

import torch
from torch.nn import functional as F

from ilm.model.item_context import CausalAttention, ItemContext, Places

WIDTH = 4


def places(*triples):
    rows, positions, items = torch.tensor(triples, dtype=torch.int64).reshape(-1, 3).unbind(dim=1)
    return Places(rows, positions, items)


def trained_context():
    """With an attention that says something."""
    torch.manual_seed(1)
    context = ItemContext(WIDTH)
    torch.nn.init.normal_(context.attention.output.weight)
    return context


def test_context_is_two_recency_weighted_means_of_the_items_before_the_place():
    context = ItemContext(WIDTH)
    torch.nn.init.zeros_(context.attention.output.weight)
    with torch.no_grad():
        context.decay.copy_(torch.tensor([0.5, 0.8]).logit())
        context.strength.copy_(torch.tensor([3.0, 2.0]))
    table = torch.eye(WIDTH)
    shown = places((0, 2, 1), (0, 4, 0), (0, 7, 2), (1, 1, 3))
    found = context(table, shown, torch.tensor([0, 0, 1]), torch.tensor([4, 9, 1]), torch.zeros(2, WIDTH))
    two = 3.0 * torch.tensor([2 / 3, 1 / 3, 0, 0]) + 2.0 * torch.tensor([1 / 1.8, 0.8 / 1.8, 0, 0])
    three = 3.0 * torch.tensor([2, 1, 4, 0]) / 7 + 2.0 * torch.tensor([0.8, 0.64, 1, 0]) / 2.44
    one = 5.0 * torch.tensor([0.0, 0, 0, 1])
    torch.testing.assert_close(found, torch.stack([two, three, one]))


def test_items_behind_a_place_and_in_other_prompts_do_not_matter():
    context, table = ItemContext(WIDTH), torch.randn(5, WIDTH)
    at = torch.tensor([1]), torch.tensor([3])
    some = context(table, places((1, 2, 0), (1, 3, 4)), *at, torch.zeros(2, WIDTH))
    more = context(table, places((0, 0, 2), (1, 2, 0), (1, 3, 4), (1, 4, 1)), *at, torch.zeros(2, WIDTH))
    torch.testing.assert_close(some, more)


def test_a_user_speaks_only_where_no_item_was_shown():
    context, table, users = ItemContext(WIDTH), torch.randn(5, WIDTH), torch.randn(2, WIDTH)
    torch.nn.init.zeros_(context.attention.output.weight)
    found = context(table, places((0, 1, 3)), torch.tensor([0, 0, 1]), torch.tensor([0, 2, 2]), users)
    torch.testing.assert_close(found[[0, 2]], context.user_strength * users)
    torch.testing.assert_close(found[1], context.strength.sum() * table[3])


def test_items_behind_a_place_do_not_matter_to_attention_either():
    context, table = trained_context(), torch.randn(5, WIDTH)
    at = torch.tensor([0]), torch.tensor([3])
    some = context(table, places((0, 2, 1), (0, 3, 4)), *at, torch.zeros(1, WIDTH))
    more = context(table, places((0, 2, 1), (0, 3, 4), (0, 4, 2), (0, 5, 0)), *at, torch.zeros(1, WIDTH))
    torch.testing.assert_close(some, more)


def test_attention_is_added_to_the_means_at_each_place():
    context, table = trained_context(), torch.randn(5, WIDTH)
    shown, at = places((0, 2, 1), (0, 3, 4), (0, 5, 0)), (torch.tensor([0, 0]), torch.tensor([3, 9]))
    whole = context(table, shown, *at, torch.zeros(1, WIDTH))
    said = context.attention(table[torch.tensor([[1, 4, 0]])])[0, [1, 2]]
    torch.nn.init.zeros_(context.attention.output.weight)
    torch.testing.assert_close(whole - said, context(table, shown, *at, torch.zeros(1, WIDTH)), atol=1e-5, rtol=1e-5)


def test_attention_is_a_transformer_layer_whose_logits_fall_with_distance():
    torch.manual_seed(2)
    layer, vectors = CausalAttention(WIDTH), torch.randn(1, 3, WIDTH)
    torch.nn.init.normal_(layer.output.weight)
    normed = F.layer_norm(vectors[0], (WIDTH,))
    query, key, value = layer.query_key_value(normed).split(WIDTH, dim=1)
    attended = torch.zeros(3, WIDTH)
    for head, slope in enumerate((0.5, 0.06)):
        part = slice(2 * head, 2 * head + 2)
        for place in range(3):
            logits = [query[place, part] @ key[at, part] / 2**0.5 - slope * (place - at) for at in range(place + 1)]
            shares = torch.stack(logits).softmax(dim=0)
            attended[place, part] = sum(share * value[at, part] for at, share in enumerate(shares))
    hidden = vectors[0] + layer.attention_output(attended)
    hidden = hidden + layer.down(F.gelu(layer.up(F.layer_norm(hidden, (WIDTH,)))))
    expected = layer.output(F.layer_norm(hidden, (WIDTH,)))
    torch.testing.assert_close(layer(vectors)[0], expected, atol=1e-5, rtol=1e-5)


def test_noise_reaches_the_attention_alone():
    context, table = trained_context(), torch.randn(5, WIDTH)
    shown, at, nobody = places((0, 2, 1)), (torch.tensor([0]), torch.tensor([3])), torch.zeros(1, WIDTH)
    silent = context(table, shown, *at, nobody, torch.zeros(1, 7, WIDTH))
    means = context.strength.sum() * table[1]
    torch.testing.assert_close(silent, (means + context.attention(torch.zeros(1, 1, WIDTH))[0, 0])[None])
