"""Prompts before two tiny language models, and names made by chance."""

import pytest
import torch

from ilm.model.language_model import load_language_model
from ilm.rank.prompt_cache import PromptCache
from tests.tiny import save_language_model

END = 0


@pytest.fixture(scope="session", params=["llama", "gpt2"])
def language_model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("names") / request.param
    return load_language_model(str(save_language_model(folder, request.param)))


def random_prompts(language_model, lengths=(7, 3, 5)):
    """Right-padded embeddings [b, l, w] and mask [b, l]; noise where the padding is, which nobody may read."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.randn(*mask.shape, language_model.width, generator=generator), mask


@pytest.fixture
def prompts(language_model):
    return PromptCache(language_model, *random_prompts(language_model))


def plain_log_likelihoods(language_model, names, embeddings, mask):
    """[b, n_items] by one uncached, unpadded forward of the whole causal model per prompt and name."""
    scores = torch.empty(len(mask), len(names))
    embed = language_model.model.get_input_embeddings()
    with torch.no_grad():
        for row, (prompt, kept) in enumerate(zip(embeddings, mask, strict=True)):
            for column, name in enumerate(names):
                tokens = torch.tensor(name)
                inputs = torch.cat([prompt[kept], embed(tokens)])[None]
                log_probs = language_model.model(inputs_embeds=inputs).logits[0].log_softmax(dim=-1)
                start = int(kept.sum()) - 1
                scores[row, column] = log_probs[start : start + len(tokens)].gather(1, tokens[:, None]).sum()
    return scores
