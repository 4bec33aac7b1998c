"""A system trained on the references, from the encoder of stage 1 on: `python -m ilm.elm train`."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import torch

from ilm.cf import factors as cf_factors
from ilm.elm.features import read_features
from ilm.elm.references import load_references
from ilm.elm.speaker import Speaker
from ilm.elm.training import learn_answers
from ilm.errors import ArtifactError
from ilm.files import replaced
from ilm.model.bridge import Bridge
from ilm.model.language_model import load_language_model
from ilm.model.storage import BridgeCard, load_encoder, save_bridge
from ilm.prompts.rendering import item_names
from ilm.train.checkpoint import CheckpointStore, training_key
from ilm.train.distributed import find_hardware
from ilm.train.run_finetune import NAME_TOKENS
from ilm.train.settings import Settings

if TYPE_CHECKING:
    from ilm.params import ElmParams, ModelParams


def train_system(
    features: Path,
    references: Path,
    encoder: Path,
    out: Path,
    settings: Settings,
    checkpoints: Path,
    log: Callable[[dict[str, float], int], None] | None = None,
) -> None:
    """Put a new adapter behind an encoder, train both on the training items' texts, and write the model.

    The encoder decides which system it is: pretrained (ILM), at random (ILM-rand), `mlp`, or `text`, which has nothing
    to learn. Its retrieval head learns nothing here.

    Args:
        features: folder with what the steps `split` and `cf` wrote.
        references: folder of `make_references`.
        encoder: folder of stage 1. It must have held out the items that are held out here: same seed, no smaller a
            share (`pretrain.held_out_fraction`).
        out: folder to write, whole or not at all.
        settings: sections `elm`, `finetune` and `model`, complete and checked.
        checkpoints: folder of the state of trainings that have not ended.
        log: called with every step's values and its number.

    Raises:
        ArtifactError: an input is missing or damaged; encoder and CF factors are of different spaces; or the language
            model was not left as it was.
        TrainingDiverged: a loss or gradient is not finite.
    """
    model_params = cast("ModelParams", SimpleNamespace(**settings["model"]))
    params = cast("ElmParams", SimpleNamespace(**settings["elm"]))
    read = read_features(features, settings["finetune"])
    lessons = load_references(references, read.training, read.held_out).part(held_out=False)
    start, pretrained = load_encoder(encoder)
    cf_factors.require_space(read.factors, pretrained.space_id, str(encoder))
    hardware = find_hardware(model_params.precision)
    language_model = load_language_model(model_params.llm, quantisation=model_params.quantisation)
    language_model.move(hardware.device, hardware.dtype)
    before = language_model.weights_digest()

    torch.manual_seed(params.seed)
    items = len(read.factors.item_factors)
    titles = read.training.attributes.titles
    names = None if start.config.queries else item_names(language_model, titles, NAME_TOKENS)
    model = Bridge(start, language_model, items, model_params.soft_tokens, names is not None, names, False)
    model.to(hardware.device)
    factors = torch.from_numpy(read.factors.item_factors).to(hardware.device)
    model.calibrate_items(model.encode_all(factors), factors.any(dim=1))
    speaker = Speaker(model, factors, params.max_answer_tokens)
    inputs = [features / "cf.safetensors", features / "catalogue.parquet", references, encoder]
    made_of = [settings[section] for section in ("elm", "finetune", "model")]
    store = CheckpointStore(checkpoints, training_key([*made_of, language_model.sha256], inputs))
    history = learn_answers(speaker, lessons, params, store, log, hardware)

    if language_model.weights_digest() != before:
        raise ArtifactError(f"language model '{language_model.name}': its weights changed while it should be frozen.")
    if hardware.is_main:
        card = BridgeCard(
            space_id=read.factors.space_id,
            language_model=language_model.name,
            language_model_sha256=language_model.sha256,
            items=items,
            soft_tokens=model_params.soft_tokens,
            item_embedding=names is not None,
            item_context=False,
            max_history=settings["pairs"]["max_history"],
            recipe=pretrained.recipe,
            encoder=pretrained.encoder,
            item_name_tokens=0 if names is None else names.shape[1],
        )
        with replaced(out) as folder:
            save_bridge(folder, model.cpu(), card, history)
