"""Stage 1 from files to a folder: what the pipeline's step and `python -m ilm.train pretrain` both run."""

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from ilm.cf import factors as cf_factors
from ilm.files import replaced
from ilm.model.encoders import describe
from ilm.model.storage import EncoderCard, save_encoder
from ilm.train.checkpoint import CheckpointStore, training_key
from ilm.train.distributed import find_hardware
from ilm.train.features import read_item_texts, read_pairs
from ilm.train.memory import require_memory
from ilm.train.stage1 import Stage1Data, pretrain

if TYPE_CHECKING:
    from ilm.params import ModelParams, PretrainParams


@dataclass(frozen=True)
class PretrainInputs:
    """Files that stage 1 reads."""

    cf_factors: Path
    item_texts: Path
    item_item: Path
    user_item: Path

    @classmethod
    def in_folder(cls, features: Path) -> "PretrainInputs":
        """Under the names that the pipeline gives them."""
        return cls(*(features / name for name in ("cf.safetensors", *(f"{n}.parquet" for n in _TABLES))))


_TABLES = ("item_text", "item_item", "user_item")


def run_pretrain(
    inputs: PretrainInputs,
    out: Path,
    model: Mapping[str, Any],
    pretraining: Mapping[str, Any],
    checkpoints: Path,
    log: Callable[[dict[str, float], int], None] | None = None,
    sharded: bool = False,
) -> None:
    """Pretrain, from the latest checkpoint on if an earlier run was cut short, and write the encoder.

    Args:
        inputs: files to read.
        out: folder to write, whole or not at all.
        model: the settings of section `model`, all of them and checked; plain values, since where this runs there may
            be no pydantic.
        pretraining: the settings of section `pretrain`, likewise.
        checkpoints: folder of the state of trainings that have not ended.
        log: called with every step's values and its number.
        sharded: the frozen language model of stage 2 will be spread over as many processes.

    Raises:
        IlmError: an input is missing or damaged, or the training diverged.
    """
    hardware = find_hardware(model["precision"])  # first: it says whose memory is meant
    processes = hardware.shard.count  # below: for the language model of stage 2; better told now than after stage 1
    require_memory(model, shares=processes if sharded else 1, processes=processes)
    factors = cf_factors.load(inputs.cf_factors)
    text_items, texts = read_item_texts(inputs.item_texts)
    data = Stage1Data(
        item_factors=factors.item_factors,
        user_factors=factors.user_factors,
        text_items=text_items,
        texts=texts,
        item_item=read_pairs(inputs.item_item, "item_index", "neighbour_index"),
        user_item=read_pairs(inputs.user_item, "user_index", "item_index"),
    )
    model_params = cast("ModelParams", SimpleNamespace(**model))
    params = cast("PretrainParams", SimpleNamespace(**pretraining))
    store = CheckpointStore(checkpoints, training_key([dict(model), dict(pretraining)], astuple(inputs)))
    encoder, history = pretrain(data, model_params, params, store, log, hardware)
    if hardware.is_main:
        card = EncoderCard(factors.space_id, model_params.text_encoder, params.recipe, describe(encoder))
        with replaced(out) as folder:
            save_encoder(folder, encoder, card, history)
