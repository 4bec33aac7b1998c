"""The frozen language model's own ability is the same inside the Item-Language Model, to the bit."""

import pytest
import torch

from ilm.eval.plain_text import TEXTS, bridge_log_perplexity, language_model_log_perplexity, plain_text
from ilm.model.bridge import Bridge
from ilm.prompts.rendering import tokenise
from tests.ilm.train.conftest import build_bridge
from tests.tiny import save_language_model


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bridge:
    return build_bridge(save_language_model(tmp_path_factory.mktemp("lm") / request.param, request.param))


def test_plain_text_is_equally_likely_alone_and_inside(model: Bridge) -> None:
    found = plain_text(model)
    assert found["log_perplexity_alone"] == found["log_perplexity_inside"] > 0


def test_it_is_the_loss_of_transformers_with_all_tokens_counting_alike(model: Bridge) -> None:
    nats, tokens = 0.0, 0
    for ids in tokenise(model.language_model, TEXTS):
        batch = torch.tensor([ids])
        with torch.no_grad():
            nats += float(model.language_model.model(input_ids=batch, labels=batch).loss) * (len(ids) - 1)
        tokens += len(ids) - 1
    assert language_model_log_perplexity(model.language_model, TEXTS) == pytest.approx(nats / tokens, rel=1e-5)


def test_other_weights_in_the_language_model_show(model: Bridge) -> None:
    before = bridge_log_perplexity(model, TEXTS)
    weight = model.language_model.model.get_input_embeddings().weight
    with torch.no_grad():
        weight[:, 0] += 0.5
        after = bridge_log_perplexity(model, TEXTS)
        weight[:, 0] -= 0.5
    assert after != before
