"""Stage 2 from files to a folder: what the pipeline's step and `python -m ilm.train finetune` both run."""

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from ilm.cf import factors as cf_factors
from ilm.cf.fold_in import UserFoldIn
from ilm.errors import ArtifactError
from ilm.files import digest, read_json, replaced
from ilm.model.bridge import Bridge
from ilm.model.language_model import load_language_model
from ilm.model.storage import HISTORY, BridgeCard, load_bridge, load_encoder, save_bridge
from ilm.prompts.attributes import read_attributes
from ilm.prompts.indexes import spoken_names
from ilm.prompts.rendering import item_names
from ilm.prompts.templates import TASKS
from ilm.train.checkpoint import CheckpointStore, training_key
from ilm.train.distributed import find_hardware
from ilm.train.examples import read_examples
from ilm.train.features import read_pairs
from ilm.train.held_out import split_material
from ilm.train.memory import require_memory
from ilm.train.stage2 import Stage2Data, finetune

if TYPE_CHECKING:
    from ilm.params import FinetuneParams, ModelParams

NAME_TOKENS = 16
"""Most tokens of the title by which an item stands in a prompt, with the encoder `text`."""


@dataclass(frozen=True)
class FinetuneInputs:
    """Files that stage 2 reads, and the folder with the encoder of stage 1."""

    cf_factors: Path
    catalogue: Path
    examples: Path
    user_item: Path
    encoder: Path

    @classmethod
    def in_folder(cls, features: Path, encoder: Path) -> "FinetuneInputs":
        """Under the names that the pipeline gives them."""
        return cls(
            features / "cf.safetensors",
            features / "catalogue.parquet",
            features / "examples.parquet",
            features / "user_item.parquet",
            encoder,
        )


def run_finetune(
    inputs: FinetuneInputs,
    out: Path,
    model: Mapping[str, Any],
    finetuning: Mapping[str, Any],
    max_history: int,
    checkpoints: Path,
    log: Callable[[dict[str, float], int], None] | None = None,
    earlier: Path | None = None,
    sharded: bool = False,
) -> None:
    """Train on the mixture of tasks, from the latest checkpoint on if an earlier run was cut short; write the model.

    Args:
        inputs: files to read.
        out: folder to write, whole or not at all.
        model: the settings of section `model`, all of them and checked, as plain values.
        finetuning: the settings of section `finetune`, likewise.
        max_history: items of a history that are shown one by one (`pairs.max_history`).
        checkpoints: folder of the state of trainings that have not ended.
        log: called with every step's values and its number.
        earlier: folder of a model of this CF space and these settings, whose items have the first rows of the
            catalogue: training goes on from its weights, for `refresh_steps` and `refresh_epochs`.
        sharded: the frozen language model's layers are spread over the processes.

    Raises:
        ArtifactError: an input is missing or damaged, encoder and CF factors are of different spaces, or the language
            model was not left as it was.
        ConfigError: the memory at hand is not enough.
        TrainingDiverged: a loss or gradient is not finite.
    """
    model_params = cast("ModelParams", SimpleNamespace(**model))
    params = cast("FinetuneParams", SimpleNamespace(**finetuning))
    factors = cf_factors.load(inputs.cf_factors)
    hardware = find_hardware(model_params.precision)  # first: it says whose memory is meant
    shares = hardware.shard.count if sharded else 1
    require_memory(model, finetuning, max_history, len(factors.item_factors), shares, hardware.shard.count)
    encoder, pretrained = load_encoder(inputs.encoder)
    cf_factors.require_space(factors, pretrained.space_id, str(inputs.encoder))
    torch.manual_seed(params.seed)
    items = len(factors.item_factors)
    attributes = read_attributes(inputs.catalogue)
    if earlier is None:
        language_model = load_language_model(
            model_params.llm, dtype=hardware.dtype, quantisation=model_params.quantisation
        )
        names = None if encoder.config.queries else item_names(language_model, attributes.titles, NAME_TOKENS)
        bridge = Bridge(
            encoder, language_model, items, model_params.soft_tokens, params.item_embedding, names, params.item_context
        )
    else:
        bridge, card = load_bridge(earlier, items)
        cf_factors.require_space(factors, card.space_id, str(earlier))
        language_model, names = bridge.language_model, bridge.item_names
    language_model.move(hardware.device, hardware.dtype, shares)
    before = language_model.weights_digest()

    index_seed = params.seed if params.names == "index" else None
    popularity = np.bincount(read_pairs(inputs.user_item, "user_index", "item_index")[:, 1], minlength=items)
    material, held_out = split_material(
        attributes,
        factors.item_factors,
        popularity,
        {task: read_examples(inputs.examples, task, "train") for task in TASKS},
        {task: read_examples(inputs.examples, task, "valid") for task in TASKS},
        max_history,
        params.held_out_fraction,
        params.seed,
        spoken_names(attributes.titles, index_seed),
    )
    data = Stage2Data(material, held_out, UserFoldIn(factors.item_factors, factors.regularization, factors.alpha))
    settings = [dict(model), dict(finetuning), max_history, language_model.sha256]
    settings += [] if earlier is None else [digest(earlier)]
    store = CheckpointStore(checkpoints, training_key(settings, astuple(inputs)))
    history = finetune(bridge, data, params, store, log, hardware, goes_on=earlier is not None)

    if language_model.weights_digest() != before:
        raise ArtifactError(f"language model '{language_model.name}': its weights changed while it should be frozen.")
    if hardware.is_main:
        card = BridgeCard(
            space_id=factors.space_id,
            language_model=language_model.name,
            language_model_sha256=language_model.sha256,
            items=items,
            soft_tokens=model_params.soft_tokens,
            item_embedding=params.item_embedding,
            item_context=params.item_context,
            max_history=max_history,
            recipe=pretrained.recipe,
            encoder=pretrained.encoder,
            item_name_tokens=0 if names is None else names.shape[1],
            index_seed=index_seed,
            quantisation=language_model.quantisation,
        )
        with replaced(out) as folder:
            save_bridge(folder, bridge.cpu(), card, history)


def run_reuse(inputs: FinetuneInputs, earlier: Path, out: Path) -> None:
    """Take an earlier model for vectors of the same CF space: nothing is trained; it grows by the items that are new.

    Args:
        inputs: `cf_factors` is read.
        earlier: folder of the model, whose items have the first rows of the catalogue.
        out: folder to write, whole or not at all; without new items, the same bytes.

    Raises:
        ArtifactError: the model does not load, is of another CF space, or knows more items than there are.
    """
    factors = cf_factors.load(inputs.cf_factors)
    bridge, card = load_bridge(earlier, len(factors.item_factors))
    cf_factors.require_space(factors, card.space_id, str(earlier))
    with replaced(out) as folder:
        save_bridge(folder, bridge, card, read_json(earlier / HISTORY))
