"""The frozen language model's own ability: how likely it finds text without items, alone and inside a trained model.

The two are equal by construction, since its weights do not change and no soft token is in the text; this measures it.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from ilm.elm.greedy import worded
from ilm.model.bridge import Bridge
from ilm.model.language_model import LanguageModel


@torch.no_grad()
def language_model_log_perplexity(language_model: LanguageModel, texts: Sequence[str]) -> float:
    """Nats per token of texts, by the loss of `transformers`; the first token of a text is not predicted.

    One text at a time, summed over all tokens: a mean of means would depend on how texts are cut.
    """
    total, tokens = 0.0, 0
    for text in texts:
        ids = worded(language_model, [text], chat=False).token_ids
        total += float(language_model.model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    return total / tokens


@torch.no_grad()
def bridge_log_perplexity(model: Bridge, texts: Sequence[str]) -> float:
    """The same by the way that prompts with items take, through `Bridge`."""
    total, tokens = 0.0, 0
    for text in texts:
        prompts = worded(model.language_model, [text], chat=False)
        nothing = torch.zeros(0, model.adapter.soft_tokens, model.adapter.width, device=prompts.token_ids.device)
        states = model.hidden_states(prompts, nothing, nothing)
        logits = model.language_model.logits(states[0, :-1]).float()
        total += float(F.cross_entropy(logits, prompts.token_ids[0, 1:], reduction="sum"))
        tokens += prompts.token_ids.shape[1] - 1
    return total / tokens
