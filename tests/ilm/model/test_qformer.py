"""The Q-Former against transformers' own, and its attention patterns against what they promise."""

import pytest
import torch
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from ilm.model import masks
from ilm.model.qformer import QFormer, QFormerConfig

QUERIES, TEXT, CF_TOKENS = 3, 5, 2


def config(**changes: int) -> QFormerConfig:
    sizes = {"hidden": 16, "heads": 4, "intermediate": 32, "vocabulary": 50, "max_positions": 12, "layers": 3}
    sizes |= {"queries": QUERIES, "cf_width": 8, "cf_tokens": CF_TOKENS, "cross_attention_every": 2}
    return QFormerConfig(layer_norm_eps=1e-12, **(sizes | changes))


@pytest.fixture
def qformer() -> QFormer:
    torch.manual_seed(0)
    model = QFormer(config())
    for parameter in model.parameters():  # larger than the usual start, so that a wrong wire shows
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def as_transformers(qformer: QFormer) -> Blip2QFormerModel:
    """The same weights in transformers' class, by name."""
    c = qformer.config
    theirs = Blip2QFormerModel(
        Blip2QFormerConfig(
            hidden_size=c.hidden, num_attention_heads=c.heads, intermediate_size=c.intermediate,
            num_hidden_layers=c.layers, cross_attention_frequency=c.cross_attention_every,
            encoder_hidden_size=c.hidden, layer_norm_eps=c.layer_norm_eps, use_qformer_text_input=True,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, vocab_size=c.vocabulary,
        )
    )  # fmt: skip
    attention = {
        "query": "attention.query", "key": "attention.key", "value": "attention.value",
        "output": "output.dense", "norm": "output.LayerNorm",
    }  # fmt: skip
    state = {"layernorm": qformer.embedding_norm}
    for index, layer in enumerate(qformer.layers):
        prefix = f"encoder.layer.{index}"
        for ours, name in attention.items():
            state[f"{prefix}.attention.{name}"] = getattr(layer.attention, ours)
            if layer.cross_attention is not None:
                state[f"{prefix}.crossattention.{name}"] = getattr(layer.cross_attention, ours)
        for suffix, branch in (("", layer.text_feed_forward), ("_query", layer.query_feed_forward)):
            state[f"{prefix}.intermediate{suffix}.dense"] = branch.up
            state[f"{prefix}.output{suffix}.dense"] = branch.down
            state[f"{prefix}.output{suffix}.LayerNorm"] = branch.norm
    theirs.load_state_dict(
        {f"{name}.{kind}": getattr(module, kind) for name, module in state.items() for kind in ("weight", "bias")},
        strict=True,
    )
    return theirs.eval()


def theirs_forward(
    qformer: QFormer, cf_tokens: torch.Tensor, token_ids: torch.Tensor | None, mask: torch.Tensor | None
):
    embeddings = qformer.query_tokens.expand(len(cf_tokens), -1, -1)
    if token_ids is not None:
        text = qformer.text_embeddings(token_ids)  # their model normalises queries and text together
        embeddings = torch.cat([embeddings, text], dim=1)
    return as_transformers(qformer)(
        query_embeds=embeddings, query_length=QUERIES, attention_mask=mask, encoder_hidden_states=cf_tokens
    ).last_hidden_state


def test_queries_alone_agree_with_transformers(qformer):
    cf_tokens = qformer.expand(torch.randn(4, 8))
    torch.testing.assert_close(qformer(cf_tokens), theirs_forward(qformer, cf_tokens, None, None), atol=1e-5, rtol=0)


def test_queries_with_padded_text_agree_with_transformers(qformer):
    cf_tokens, token_ids = qformer.expand(torch.randn(4, 8)), torch.randint(50, (4, TEXT))
    text_mask = torch.arange(TEXT) < torch.tensor([5, 2, 3, 4])[:, None]
    mask = masks.bi_directional(QUERIES, text_mask)
    ours = qformer(cf_tokens, qformer.embed_text(token_ids), mask)
    torch.testing.assert_close(ours, theirs_forward(qformer, cf_tokens, token_ids, mask), atol=1e-5, rtol=0)


def test_queries_and_padded_generated_text_agree_with_transformers(qformer):
    cf_tokens, token_ids = qformer.expand(torch.randn(4, 8)), torch.randint(50, (4, TEXT))
    text_mask = torch.arange(TEXT) < torch.tensor([5, 2, 3, 4])[:, None]
    ours = qformer(cf_tokens, qformer.embed_text(token_ids), masks.generation(QUERIES, text_mask))

    causal = torch.zeros(4, QUERIES + TEXT, QUERIES + TEXT, dtype=torch.bool)
    causal[:, :QUERIES, :QUERIES] = True
    causal[:, QUERIES:, :QUERIES] = True
    causal[:, QUERIES:, QUERIES:] = torch.ones(TEXT, TEXT).tril().bool() & text_mask[:, None]
    theirs = theirs_forward(qformer, cf_tokens, token_ids, causal[:, None])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours[:, :QUERIES], qformer(cf_tokens), atol=1e-5, rtol=0)


def test_generated_text_never_sees_its_future(qformer):
    cf_tokens, token_ids = qformer.expand(torch.randn(1, 8)), torch.randint(50, (1, TEXT))
    mask = masks.generation(QUERIES, torch.ones(1, TEXT, dtype=torch.bool))
    changed = token_ids.clone()
    changed[0, 3] = (changed[0, 3] + 1) % 50
    first, second = (qformer(cf_tokens, qformer.embed_text(text), mask) for text in (token_ids, changed))
    seen = QUERIES + 3
    torch.testing.assert_close(first[:, :seen], second[:, :seen], atol=0, rtol=0)
    assert (first[:, seen:] != second[:, seen:]).all(dim=-1).any()


def test_text_alone_does_not_depend_on_its_padding(qformer):
    token_ids = torch.randint(50, (2, TEXT))
    mask = masks.bi_directional(0, torch.arange(TEXT) < torch.tensor([TEXT, 2])[:, None])
    padded = qformer(None, qformer.embed_text(token_ids), mask)
    alone = qformer(None, qformer.embed_text(token_ids[1:, :2]))
    torch.testing.assert_close(padded[1:, :2], alone, atol=1e-5, rtol=0)


def test_one_cf_token_gives_attention_weights_no_gradient_but_several_do():
    for cf_tokens, learns in ((1, False), (4, True)):
        torch.manual_seed(0)
        qformer = QFormer(config(cf_tokens=cf_tokens))
        encoded = qformer.encode(torch.randn(6, 8))
        (encoded * torch.randn_like(encoded)).sum().backward()
        gradient = qformer.layers[0].cross_attention.query.weight.grad
        assert bool(gradient.abs().max() > 1e-6) is learns


def test_text_free_qformer_loads_the_query_state_strictly_and_encodes_the_same(qformer):
    bare = QFormer(qformer.config, text=False)
    bare.load_state_dict(qformer.query_state(), strict=True)
    vectors = torch.randn(4, 8)
    torch.testing.assert_close(bare.encode(vectors), qformer.encode(vectors), atol=0, rtol=0)


def test_scales_bring_items_and_users_of_any_length_to_the_network_at_unit_size(qformer):
    items, users = 0.01 * torch.randn(100, 8), 7 * torch.randn(100, 8)
    qformer.scales.fit(items, users)
    assert (items * qformer.scales.items).square().mean().sqrt().item() == pytest.approx(1, rel=1e-5)
    assert (users * qformer.scales.users).square().mean().sqrt().item() == pytest.approx(1, rel=1e-5)


def test_scales_do_not_depend_on_how_many_have_no_vector(qformer):
    items, users = torch.randn(100, 8), torch.randn(100, 8)
    qformer.scales.fit(items, users)
    before = qformer.scales.items.clone(), qformer.scales.users.clone()
    nobody = torch.zeros(30, 8)
    qformer.scales.fit(torch.cat([items[:50], nobody, items[50:]]), torch.cat([nobody, users]))
    assert torch.equal(qformer.scales.items, before[0])
    assert torch.equal(qformer.scales.users, before[1])
