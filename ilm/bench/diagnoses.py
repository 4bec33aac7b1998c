"""What is taken away from a finished model before it ranks, to see what that part was worth."""

from collections.abc import Callable

import torch

from ilm.model.bridge import Bridge


def _without_language_model(bridge: Bridge) -> None:
    torch.nn.init.zeros_(bridge.head.answer_projection.weight)
    torch.nn.init.zeros_(bridge.head.answer_projection.bias)


def _without_soft_tokens(bridge: Bridge) -> None:
    if bridge.adapter.projection is not None:
        torch.nn.init.zeros_(bridge.adapter.projection.weight)
        torch.nn.init.zeros_(bridge.adapter.projection.bias)


def _without_item_context(bridge: Bridge) -> None:
    bridge.head.item_context = None


WHOLE = ""

DIAGNOSES: dict[str, Callable[[Bridge], None]] = {
    WHOLE: lambda bridge: None,
    " - language model": _without_language_model,
    " - soft tokens": _without_soft_tokens,
    " - item context": _without_item_context,
}
"""What is added to a system's name -> what changes its model in place."""

OF_THE_HEAD = {" - language model", " - item context"}
"""Of these, the ones that a ranking without the retrieval head does not have."""
