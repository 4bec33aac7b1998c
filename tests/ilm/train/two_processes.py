"""Run by two processes at once: a gather, trainings that cannot be, then both stages.

Arguments: the exported features, what one process made of them, the folder to write to.
"""

import runpy
import sys
from pathlib import Path

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from ilm.errors import ArtifactError, TrainingDiverged
from ilm.files import write_json
from ilm.model.language_model import load_language_model
from ilm.model.shards import gather_rows
from ilm.model.spread import own_part
from ilm.train.checkpoint import CheckpointStore
from ilm.train.distributed import find_hardware
from ilm.train.loop import Schedule, optimizer_for, train
from ilm.train.run_finetune import FinetuneInputs, run_finetune
from ilm.train.run_pretrain import PretrainInputs, run_pretrain
from ilm.train.settings import read_settings


def main(features: Path, one: Path, out: Path) -> None:
    hardware = find_hardware("fp32")
    (out / f"rank_{hardware.shard.index}").mkdir(parents=True)

    own = torch.tensor([1.0, 2.0], requires_grad=True) + 2 * hardware.shard.index
    own.retain_grad()
    rows = gather_rows(own, hardware.shard)
    ((1 + hardware.shard.index) * rows * torch.arange(1.0, 5.0)).sum().backward()
    (out / f"rank_{hardware.shard.index}/gathered").write_text(f"{rows.tolist()} {own.grad.tolist()}")

    model = nn.Linear(1, 1)
    bad = float("nan") if hardware.shard.index == 1 else 1.0
    try:
        train(
            "x",
            model,
            optimizer_for([(model, 0.1)]),
            lambda step, micro: {"loss": model.weight.sum() * (bad if step == 2 else 1.0)},
            Schedule(5, 1, 5),
            hardware=hardware,
        )
    except TrainingDiverged as error:
        (out / f"rank_{hardware.shard.index}/diverged").write_text(str(error))

    lonely = CheckpointStore(out / f"rank_{hardware.shard.index}/checkpoints", "key")
    if hardware.is_main:
        lonely.save(3, model, optimizer_for([(model, 0.1)]), [])
    try:
        train("x", model, optimizer_for([(model, 0.1)]), lambda *_: {}, Schedule(5, 1, 5), lonely, hardware=hardware)
    except ArtifactError as error:
        (out / f"rank_{hardware.shard.index}/apart").write_text(str(error))

    settings = read_settings(features, [])
    language_model = load_language_model(settings["model"]["llm"])
    language_model.move(hardware.device, hardware.dtype, processes=2)
    parameters = list(language_model.model.parameters())
    before, kept = language_model.weights_digest(), sum(own_part(parameter).numel() for parameter in parameters)
    spread = next(parameter for parameter in parameters if isinstance(parameter, DTensor))
    with torch.no_grad():
        own_part(spread)[-1:] += 1
    told = [kept, sum(p.numel() for p in parameters), language_model.weights_digest() != before]
    write_json(out / f"rank_{hardware.shard.index}/spread.json", told)

    inputs = PretrainInputs.in_folder(features)
    run_pretrain(inputs, out / "encoder", settings["model"], settings["pretrain"], out / "checkpoints")
    finetune_inputs = FinetuneInputs.in_folder(features, one / "encoder")
    place, max_history = (out / "ilm_spread", settings["pairs"]["max_history"])
    run_finetune(
        finetune_inputs, place, settings["model"], settings["finetune"], max_history, out / "others", sharded=True
    )
    sys.argv = [
        "ilm.train",
        "finetune",
        "--features",
        str(features),
        "--out",
        str(out / "ilm"),
        "--encoder",
        str(one / "encoder"),
    ]
    runpy.run_module("ilm.train", run_name="__main__")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
