"""What a request costs in prompt tokens: items as soft tokens, against the same history as titles in text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ilm.model.bridge import Bridge
from ilm.prompts.recommendation import recommendation
from ilm.prompts.rendering import Renderer, item_names
from ilm.prompts.templates import SEEN
from ilm.train.run_finetune import NAME_TOKENS


def prompt_tokens(
    model: Bridge, max_history: int, histories: Sequence[NDArray[np.int32]], titles: Sequence[str]
) -> dict[str, Any]:
    """Tokens of the sequential prompt in which the model ranks for each history.

    Args:
        model: whose language model's tokens are counted.
        max_history: of a history, how many of the last items are shown.
        histories: item indexes, oldest first.
        titles: of all items.

    Returns:
        {"requests", "model": tokens in all, "text": the same with each item as its title of at most NAME_TOKENS tokens
        and without the user's vector, as the text-only system is asked}.
    """
    examples = [recommendation(SEEN["sequential"][0], history, max_history) for history in histories]
    nobody = torch.zeros(len(examples), 0)  # lengths do not depend on the users' vectors
    language_model = model.language_model
    names = item_names(language_model, titles, NAME_TOKENS)
    renderers = {
        "model": Renderer(language_model, model.adapter.soft_tokens, item_names=model.item_names),
        "text": Renderer(language_model, 0, item_names=names),
    }
    lengths = {kind: int(render(examples, nobody).prompts.mask.sum()) for kind, render in renderers.items()}
    return {"requests": len(examples), **lengths}
