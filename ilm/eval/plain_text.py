"""The frozen language model's own ability: how likely it finds text without items, alone and inside a trained model.

The two are equal to the bit by construction: its weights do not change, and there is no soft token in the text. This
measures it, by `transformers`' own forward and by the way that prompts with items take.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ilm.model.bridge import Bridge, Prompts
from ilm.model.language_model import LanguageModel
from ilm.prompts.example import Example, Turn
from ilm.prompts.rendering import Renderer

TEXTS = (
    "Four score and seven years ago our fathers brought forth on this continent, a new nation, conceived in Liberty, "
    "and dedicated to the proposition that all men are created equal.",
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness.",
    "Water boils at 100 degrees Celsius at sea level; in the mountains it boils sooner, because the air presses less.",
    "To bake a loaf of bread you need flour, water, yeast and a little salt, a warm place and some patience.",
)
"""Plain text for everybody: no item, no user, no catalogue."""


def plain_text(model: Bridge) -> dict[str, float]:
    """Log-perplexity of TEXTS, of the language model alone and inside the Item-Language Model."""
    return {
        "log_perplexity_alone": language_model_log_perplexity(model.language_model, TEXTS),
        "log_perplexity_inside": bridge_log_perplexity(model, TEXTS),
    }


def language_model_log_perplexity(language_model: LanguageModel, texts: Sequence[str]) -> float:
    """Nats per token of texts, by the forward of `transformers`; the first token of a text is not predicted.

    One text at a time, summed over all tokens: a mean of means would depend on how texts are cut.
    """
    return _log_perplexity(language_model, texts, lambda prompts: language_model.model(prompts.token_ids).logits[0])


def bridge_log_perplexity(model: Bridge, texts: Sequence[str]) -> float:
    """The same by the way that prompts with items take, through `Bridge`."""

    def logits(prompts: Prompts) -> Tensor:
        nothing = torch.zeros(0, model.adapter.soft_tokens, model.adapter.width, device=prompts.token_ids.device)
        return model.language_model.logits(model.hidden_states(prompts, nothing, nothing)[0])

    return _log_perplexity(model.language_model, texts, logits)


@torch.no_grad()
def _log_perplexity(language_model: LanguageModel, texts: Sequence[str], logits: Callable[[Prompts], Tensor]) -> float:
    total, tokens = 0.0, 0
    for text in texts:
        prompts = _worded(language_model, text)
        following = prompts.token_ids[0, 1:]
        total += float(F.cross_entropy(logits(prompts)[:-1].float(), following, reduction="sum"))
        tokens += len(following)
    return total / tokens


def _worded(language_model: LanguageModel, text: str) -> Prompts:
    """The text as it is, in a prompt of its own."""
    prompts = Renderer(language_model, 0)([Example((Turn((text,)),), chat=False)], torch.zeros(1, 1)).prompts
    device = language_model.model.device
    return Prompts(prompts.token_ids.to(device), prompts.mask.to(device), prompts.items, prompts.users)
