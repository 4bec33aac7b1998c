"""What every encoder must do. A new one passes all of this by being listed in ENCODERS."""

import pytest
import torch

from ilm.errors import ArtifactError
from ilm.files import read_json, write_json
from ilm.model.bridge import Bridge, Prompts
from ilm.model.encoders import (
    Encoder,
    MlpConfig,
    MlpEncoder,
    TextOnly,
    TextOnlyConfig,
    build_encoder,
    describe,
    start_encoder,
)
from ilm.model.item_context import Places
from ilm.model.language_model import load_language_model
from ilm.model.qformer import QFormer, QFormerConfig
from ilm.model.storage import BridgeCard, EncoderCard, load_bridge, load_encoder, save_bridge, save_encoder
from ilm.params import ModelParams
from tests.tiny import save_language_model, save_text_encoder

ITEMS, WIDTH = 7, 4
ENCODERS = {
    "qformer": QFormerConfig(
        hidden=16, heads=2, intermediate=32, vocabulary=10, max_positions=8, layer_norm_eps=1e-12, layers=2, queries=2,
        cf_width=WIDTH, cf_tokens=2, cross_attention_every=1,
    ),
    "mlp": MlpConfig(cf_width=WIDTH),
    "text": TextOnlyConfig(),
}  # fmt: skip
NAMES = torch.tensor([[5, 6, 7 + item, -1] for item in range(ITEMS)])


@pytest.fixture(params=ENCODERS)
def encoder(request):
    """Small, with weights large enough that a wrong wire shows, as it stands in a bridge."""
    torch.manual_seed(0)
    built = build_encoder({"kind": request.param} | vars(ENCODERS[request.param]))
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def language_model_folder(request, tmp_path_factory):
    return save_language_model(tmp_path_factory.mktemp("lm") / request.param, request.param)


def bridge_of(encoder: Encoder, language_model_folder, soft_tokens=1) -> Bridge:
    names = None if encoder.config.queries else NAMES
    language_model = load_language_model(str(language_model_folder))
    return Bridge(encoder, language_model, ITEMS, soft_tokens, item_embedding=True, item_names=names)


def prompt_states(bridge: Bridge, factors: torch.Tensor, users: torch.Tensor) -> torch.Tensor:
    """Last state [1, w] of a prompt with every item and one user."""
    soft = bridge.adapter.soft_tokens
    lm = bridge.language_model
    ids = torch.tensor([[3, *[lm.item_id] * (soft * ITEMS), 4, *[lm.user_id] * soft, 5]])
    prompts = Prompts(ids, torch.ones_like(ids, dtype=torch.bool), torch.arange(ITEMS), users)
    item_soft = bridge.adapter(bridge.encoder.encode(factors))
    user_soft = bridge.adapter(bridge.encoder.encode(users, users=True))
    return bridge.hidden_states(prompts, item_soft, user_soft)[:, -1]


def test_output_has_the_shape_that_the_config_says(encoder):
    assert encoder.encode(torch.randn(5, WIDTH)).shape == (5, encoder.config.queries, encoder.config.hidden)
    assert encoder.encode(torch.randn(0, WIDTH)).shape == (0, encoder.config.queries, encoder.config.hidden)


def test_a_vector_is_encoded_the_same_alone_and_among_others(encoder):
    vectors = torch.randn(6, WIDTH)
    alone = torch.cat([encoder.encode(row[None]) for row in vectors])
    torch.testing.assert_close(alone, encoder.encode(vectors), atol=1e-6, rtol=1e-5)


def test_equal_calls_give_equal_bits(encoder):
    vectors = torch.randn(6, WIDTH)
    assert torch.equal(encoder.encode(vectors), encoder.encode(vectors))


def test_users_differ_from_items_by_their_scale_alone(encoder):
    if isinstance(encoder, TextOnly):
        pytest.skip("reads no vectors")
    encoder.scales.fit(torch.randn(50, WIDTH), 8 * torch.randn(50, WIDTH))
    vectors = torch.randn(3, WIDTH)
    as_users = encoder.encode(vectors, users=True)
    assert not torch.allclose(as_users, encoder.encode(vectors))
    rescaled = vectors * encoder.scales.users / encoder.scales.items
    torch.testing.assert_close(as_users, encoder.encode(rescaled), atol=1e-5, rtol=1e-4)


def test_gradient_reaches_every_parameter_through_prompt_and_head(encoder, language_model_folder):
    torch.manual_seed(1)
    bridge = bridge_of(encoder, language_model_folder)
    torch.nn.init.normal_(bridge.head.item_embedding)
    factors, users = torch.randn(ITEMS, WIDTH), torch.randn(1, WIDTH)
    states = prompt_states(bridge, factors, users)
    torch.nn.init.normal_(bridge.head.answer_projection.weight, std=0.1)
    shown, both = Places(*torch.tensor([[0, 0], [0, 1], [4, 5]])), torch.tensor([0, 1])
    table = bridge.head.table(encoder.encode(factors))
    users = encoder.encode(users, users=True)
    context = bridge.head.context(
        table, shown, both, 1 + both, users.expand(2, -1, -1), both
    )  # behind items, of a user
    scores = bridge.head(states.expand(2, -1), context, table)
    assert scores.shape == (2, ITEMS)
    torch.nn.functional.cross_entropy(scores, torch.tensor([2, 3])).backward()
    # Keys' biases shift all logits of a softmax alike and get no gradient beyond rounding.
    learning = [(name, p) for name, p in bridge.named_parameters() if p.requires_grad]
    assert len(learning) == len(list(bridge.parameters())) - 2  # the wish projection, which is fitted without gradient
    still = [name for name, p in learning if p.grad is None or not bool(p.grad.abs().max() > 0)]
    no_users = ("user_strength",) if encoder.config.queries == 0 else ()
    assert [name for name in still if not name.endswith(("key.bias", *no_users))] == []


def test_calibration_leaves_finite_weights_and_soft_tokens_at_the_scale_of_words(encoder, language_model_folder):
    bridge = bridge_of(encoder, language_model_folder)
    factors = torch.randn(ITEMS, WIDTH)
    bridge.calibrate_items(bridge.encode_all(factors), factors.any(dim=1))
    soft = bridge.adapter(bridge.encode_all(factors))
    assert all(bool(torch.isfinite(value).all()) for value in bridge.state_dict().values())
    assert soft.shape == (ITEMS, min(1, encoder.config.queries), bridge.language_model.width)
    if soft.numel():
        scale = bridge.language_model.embedding_scale
        assert soft.square().mean().sqrt().item() == pytest.approx(scale, rel=1e-3)


def test_encoder_and_card_survive_the_disk(encoder, tmp_path):
    card = EncoderCard("0" * 16, "tiny", "none", describe(encoder))
    whole = build_encoder(describe(encoder), text=True)
    save_encoder(tmp_path / "encoder", whole, card, [])
    loaded, loaded_card = load_encoder(tmp_path / "encoder")
    assert loaded_card == card
    assert loaded.config == encoder.config
    assert loaded.state_dict().keys() == encoder.state_dict().keys()
    vectors = torch.randn(3, WIDTH)
    assert torch.equal(loaded.encode(vectors), whole.encode(vectors))


def test_bridge_with_this_encoder_answers_the_same_from_disk(encoder, language_model_folder, tmp_path):
    bridge = bridge_of(encoder, language_model_folder).eval()
    lm = bridge.language_model
    card = BridgeCard(
        space_id="0" * 16, language_model=lm.name, language_model_sha256=lm.sha256, items=ITEMS, soft_tokens=1,
        item_embedding=True, item_context=True, max_history=4, recipe="none", encoder=describe(encoder),
        item_name_tokens=0 if bridge.item_names is None else NAMES.shape[1],
    )  # fmt: skip
    save_bridge(tmp_path / "ilm", bridge, card, [])
    loaded, loaded_card = load_bridge(tmp_path / "ilm")
    assert loaded_card == card
    factors, users = torch.randn(ITEMS, WIDTH), torch.randn(1, WIDTH)
    assert torch.equal(prompt_states(loaded, factors, users), prompt_states(bridge, factors, users))
    if bridge.item_names is not None:
        assert torch.equal(loaded.item_names, NAMES)


@pytest.mark.parametrize("change", [{"kind": "oracle"}, {"kind": None}, {"surprise": 1}])
def test_encoder_card_that_says_something_unknown_is_refused(encoder, change, tmp_path):
    card = EncoderCard("0" * 16, "tiny", "none", describe(encoder))
    save_encoder(tmp_path / "encoder", build_encoder(describe(encoder), text=True), card, [])
    config = read_json(tmp_path / "encoder/config.json")
    write_json(tmp_path / "encoder/config.json", config | {"encoder": config["encoder"] | change})
    with pytest.raises(ArtifactError, match=r"config\.json: encoder"):
        load_encoder(tmp_path / "encoder")


def test_mlp_and_adapter_together_are_collms_two_linear_layers():
    torch.manual_seed(0)
    encoder = MlpEncoder(MlpConfig(WIDTH))
    adapter = torch.nn.Linear(10 * WIDTH, 6)
    collm = torch.nn.Sequential(encoder.hidden, torch.nn.ReLU(), adapter)
    vectors = torch.randn(3, WIDTH)
    torch.testing.assert_close(adapter(encoder.encode(vectors))[:, 0], collm(vectors))
    assert encoder.hidden.out_features == 10 * WIDTH


@pytest.mark.parametrize(("kind", "kept"), [("qformer", QFormer), ("mlp", MlpEncoder), ("text", TextOnly)])
def test_settings_choose_the_encoder_and_it_starts_the_same_from_the_same_seed(kind, kept, tmp_path):
    folder = save_text_encoder(tmp_path / "bert")
    params = ModelParams(encoder=kind, text_encoder=str(folder), layers=2, queries=2, cf_tokens=2)
    items, users = torch.randn(20, WIDTH), 5 * torch.randn(9, WIDTH)
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(start_encoder(params, items, users).state_dict())
    assert isinstance(start_encoder(params, items, users), kept)
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_items_are_named_in_words_exactly_where_there_are_no_soft_tokens(language_model_folder):
    language_model = load_language_model(str(language_model_folder))
    with pytest.raises(ValueError, match="item_names"):
        Bridge(TextOnly(TextOnlyConfig()), language_model, ITEMS, 1, item_embedding=True)
    with pytest.raises(ValueError, match="item_names"):
        Bridge(MlpEncoder(MlpConfig(WIDTH)), language_model, ITEMS, 1, item_embedding=True, item_names=NAMES)
    with pytest.raises(ValueError, match="item_embedding"):
        Bridge(TextOnly(TextOnlyConfig()), language_model, ITEMS, 1, item_embedding=False, item_names=NAMES)


def test_more_soft_tokens_than_queries_are_refused(language_model_folder):
    language_model = load_language_model(str(language_model_folder))
    with pytest.raises(ValueError, match=r"soft_tokens \(2\) must divide queries \(1\)"):
        Bridge(MlpEncoder(MlpConfig(WIDTH)), language_model, ITEMS, 2, item_embedding=True)
