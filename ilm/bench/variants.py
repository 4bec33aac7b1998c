"""The systems with a language model, as differences from the settings of a run; and the paper's ablations.

An ablation changes one thing. Its order is that of the x axis; the first system is the one that others are tested with.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ilm.errors import ConfigError
from ilm.setting_rules import broken_rules
from ilm.train.settings import Settings

Changes = Mapping[str, Mapping[str, Any]]
"""Section -> setting -> value."""

RANKING_ONLY = {"title": 0, "description": 0, "attributes": 0, "comparison": 0, "why": 0, "conversation": 0}
LEARNING = {"encoder_learning_rate": 3e-5}
"""Stage 2 trains the encoder, too, as in the paper."""

VARIANTS: dict[str, Changes] = {
    "ilm": {},
    "ilm-rand": {"pretrain": {"recipe": "none"}},
    "mlp": {"model": {"encoder": "mlp"}, "pretrain": {"recipe": "none"}},
    "text": {"model": {"encoder": "text"}, "pretrain": {"recipe": "none"}, "finetune": {"mixture": RANKING_ONLY}},
    "learning-encoder": {"finetune": LEARNING},
    "learning-encoder-rand": {"finetune": LEARNING, "pretrain": {"recipe": "none"}},
    "learning-encoder-mlp": {"finetune": LEARNING, "model": {"encoder": "mlp"}, "pretrain": {"recipe": "none"}},
    "no-context": {"finetune": LEARNING | {"item_context": False}},
    "no-context-rand": {"finetune": LEARNING | {"item_context": False}, "pretrain": {"recipe": "none"}},
    "no-context-mlp": {
        "finetune": LEARNING | {"item_context": False}, "model": {"encoder": "mlp"}, "pretrain": {"recipe": "none"},
    },
    "it": {"pretrain": {"recipe": "IT"}},
    "it-ui": {"pretrain": {"recipe": "IT-UI"}},
    "it-ii-ui": {"pretrain": {"recipe": "IT-II-UI"}},
}  # fmt: skip
"""Name -> the settings in which it differs from those of the run."""

ABLATIONS: dict[str, dict[str, Changes]] = {
    "stage1": {recipe: {"pretrain": {"recipe": recipe}} for recipe in ("none", "IT", "IT-II", "IT-UI", "IT-II-UI")},
    "queries": {f"queries-{count}": {"model": {"queries": count}} for count in (1, 2, 4, 8, 16)},
    "encoder": {name: VARIANTS[name] for name in ("ilm", "ilm-rand", "mlp", "text")},
    "cf-tokens": {f"cf-tokens-{count}": {"model": {"cf_tokens": count}} for count in (1, 2, 4, 8)},
}
"""Name -> its systems, in order."""


def varied(settings: Settings, changes: Changes, seed: int, name: str) -> Settings:
    """Settings with a system's changes (a mixture is merged) and the seed in both stages.

    Raises:
        ConfigError: the changes do not go with the other settings.
    """
    result = deepcopy(settings)
    for section, values in changes.items():
        for key, value in values.items():
            old = result[section].get(key)
            result[section][key] = old | value if isinstance(old, dict) else value
    for section in ("pretrain", "finetune"):
        result[section]["seed"] = seed
    if wrong := broken_rules(result):
        raise ConfigError("\n  ".join([f"system {name}: not with these settings (--set).", *wrong]))
    return result
