"""Trained models on disk: weights as safetensors, the rest as JSON; loading is strict about both.

The language model is named with the hash of its weights, never copied.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ilm.errors import ArtifactError
from ilm.files import read_json, write_json
from ilm.model.bridge import Bridge
from ilm.model.encoders import Encoder, build_encoder, without_text
from ilm.model.language_model import load_language_model

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
HISTORY = "history.json"


@dataclass(frozen=True)
class EncoderCard:
    """What the folder of an encoder after stage 1 says beside its weights."""

    space_id: str
    """CF space whose vectors it reads."""
    text_encoder: str
    """Where a Q-Former started; other encoders know none."""
    recipe: str
    """Stage-1 recipe; `none`: these weights are a start at random."""
    encoder: dict[str, Any]
    """Kind and sizes (`ilm.model.encoders.describe`)."""


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
    item_context: bool
    max_history: int
    """Items of a history that are shown one by one."""
    recipe: str
    """Stage-1 recipe of the encoder it started from."""
    encoder: dict[str, Any]
    """Kind and sizes (`ilm.model.encoders.describe`)."""
    item_name_tokens: int = 0
    """Longest item name in tokens, where items stand in a prompt by their titles; 0 where they are soft tokens."""
    index_seed: int | None = None
    """Seed of the random index strings that it answers with where it spells an item; None: it answers with titles."""
    quantisation: str = "none"
    """Of the language model's matrices in memory; the hash is that of its files."""


Card = TypeVar("Card", EncoderCard, BridgeCard)


def save_encoder(folder: Path, encoder: Encoder, card: EncoderCard, history: list[dict[str, float]]) -> None:
    """Write an encoder after stage 1, a Q-Former's text branch included, into the (new) folder."""
    _save(folder, encoder, card, history)


def load_encoder(folder: Path) -> tuple[Encoder, EncoderCard]:
    """Read an encoder after stage 1, ready for the bridge: a Q-Former comes without its text branch.

    Raises:
        ArtifactError: a file is missing, damaged, or does not fit the other.
    """
    card = _load_card(folder, EncoderCard)
    encoder = _built(folder, card.encoder, text=True)
    load_weights(folder, encoder)
    return without_text(encoder).eval(), card


def save_bridge(folder: Path, model: Bridge, card: BridgeCard, history: list[dict[str, float]]) -> None:
    """Write what was trained of an Item-Language Model into the (new) folder."""
    _save(folder, model, card, history)


def load_bridge(
    folder: Path, items: int | None = None, language_model: str | Path | None = None
) -> tuple[Bridge, BridgeCard]:
    """Read an Item-Language Model and load its frozen language model by name and hash.

    Args:
        folder: of the model.
        items: size of the catalogue now, if it has grown since: the items behind those that the model knows get no
            learned part of their own, and the bias of the item that is asked for least.
        language_model: a name or folder other than that of the training, where the language model is found now.

    Raises:
        ArtifactError: a file is missing, damaged or does not fit; the language model is not the one of the training.
    """
    card = _load_card(folder, BridgeCard)
    known, card = card.items, replace(card, items=items or card.items)
    if card.items < known or (card.items > known and card.item_name_tokens):
        raise ArtifactError(f"{folder}: made for {known:,} items, and cannot be used for {card.items:,}. Train again.")
    frozen = load_language_model(
        str(language_model or card.language_model), card.language_model_sha256, quantisation=card.quantisation
    )
    names = torch.full((card.items, card.item_name_tokens), -1) if card.item_name_tokens else None
    encoder = _built(folder, card.encoder)
    try:
        model = Bridge(encoder, frozen, known, card.soft_tokens, card.item_embedding, names, card.item_context)
    except ValueError as error:
        raise ArtifactError(f"{folder / CONFIG}: {error}. Restore it with `dvc checkout`, or train again.") from None
    load_weights(folder, model)
    model.head.grow(card.items - known)
    return model.eval(), card


def _save(folder: Path, module: nn.Module, card: EncoderCard | BridgeCard, history: list[dict[str, float]]) -> None:
    folder.mkdir(parents=True)
    save_file({name: tensor.cpu().contiguous() for name, tensor in module.state_dict().items()}, folder / WEIGHTS)
    write_json(folder / CONFIG, asdict(card))
    write_json(folder / HISTORY, history)


def _load_card(folder: Path, kind: type[Card]) -> Card:
    values = read_json(folder / CONFIG)
    try:
        return kind(**values)
    except TypeError as error:
        raise ArtifactError(f"{folder / CONFIG}: {error}. Written by another version? Train again.") from None


def _built(folder: Path, description: dict[str, Any], text: bool = False) -> Encoder:
    try:
        return build_encoder(description, text)
    except TypeError as error:
        raise ArtifactError(f"{folder / CONFIG}: encoder: {error}. Written by another version? Train again.") from None


def load_weights(folder: Path, module: nn.Module) -> None:
    """Read a folder's weights into a module.

    Raises:
        ArtifactError: the file is missing or damaged, does not fit the module, or holds what is not finite.
    """
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
