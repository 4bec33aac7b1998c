"""Trained models on disk: weights as safetensors, the rest as JSON; loading is strict about both.

The language model is named with the hash of its weights, never copied.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ilm.errors import ArtifactError
from ilm.files import read_json, write_json
from ilm.model.bridge import Bridge
from ilm.model.language_model import load_language_model
from ilm.model.qformer import QFormer, QFormerConfig

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
HISTORY = "history.json"


@dataclass(frozen=True)
class QFormerCard:
    """What a pretrained Q-Former's folder says beside its weights."""

    space_id: str
    """CF space whose vectors it reads."""
    text_encoder: str
    recipe: str
    qformer: dict[str, Any]


@dataclass(frozen=True)
class BridgeCard:
    """What an Item-Language Model's folder says beside its weights."""

    space_id: str
    """CF space whose vectors it reads."""
    language_model: str
    language_model_sha256: str
    items: int
    soft_tokens: int
    item_embedding: bool
    max_history: int
    """Items of a history that are shown one by one."""
    recipe: str
    """Stage-1 recipe of the Q-Former it started from."""
    qformer: dict[str, Any]


Card = TypeVar("Card", QFormerCard, BridgeCard)


def save_qformer(folder: Path, qformer: QFormer, card: QFormerCard, history: list[dict[str, float]]) -> None:
    """Write a pretrained Q-Former, text branch included, into the (new) folder."""
    _save(folder, qformer, card, history)


def load_qformer(folder: Path) -> tuple[QFormer, QFormerCard]:
    """Read a pretrained Q-Former.

    Raises:
        ArtifactError: a file is missing, damaged, or does not fit the other.
    """
    card = _load_card(folder, QFormerCard)
    qformer = QFormer(_qformer_config(folder, card.qformer))
    _load_weights(folder, qformer)
    return qformer.eval(), card


def save_bridge(folder: Path, model: Bridge, card: BridgeCard, history: list[dict[str, float]]) -> None:
    """Write what was trained of an Item-Language Model into the (new) folder."""
    _save(folder, model, card, history)


def load_bridge(folder: Path) -> tuple[Bridge, BridgeCard]:
    """Read an Item-Language Model and load its frozen language model by name and hash.

    Raises:
        ArtifactError: a file is missing, damaged or does not fit; the language model is not the one of the training.
    """
    card = _load_card(folder, BridgeCard)
    language_model = load_language_model(card.language_model, card.language_model_sha256)
    config = _qformer_config(folder, card.qformer)
    model = Bridge(config, language_model, card.items, card.soft_tokens, card.item_embedding)
    _load_weights(folder, model)
    return model.eval(), card


def _save(folder: Path, module: nn.Module, card: QFormerCard | BridgeCard, history: list[dict[str, float]]) -> None:
    folder.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, folder / WEIGHTS)
    write_json(folder / CONFIG, asdict(card))
    write_json(folder / HISTORY, history)


def _load_card(folder: Path, kind: type[Card]) -> Card:
    values = read_json(folder / CONFIG)
    try:
        return kind(**values)
    except TypeError as error:
        raise ArtifactError(f"{folder / CONFIG}: {error}. Written by another version? Train again.") from None


def _qformer_config(folder: Path, values: dict[str, Any]) -> QFormerConfig:
    try:
        return QFormerConfig(**values)
    except TypeError as error:
        raise ArtifactError(f"{folder / CONFIG}: qformer: {error}. Written by another version? Train again.") from None


def _load_weights(folder: Path, module: nn.Module) -> None:
    path = folder / WEIGHTS
    try:
        module.load_state_dict(load_file(path), strict=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(
            f"{path}: not loadable ({reason}). Train again, or restore it with `dvc checkout`."
        ) from None
    if not all(bool(torch.isfinite(tensor).all()) for tensor in module.state_dict().values()):
        raise ArtifactError(f"{path}: holds NaN or infinite weights. Train again.")
