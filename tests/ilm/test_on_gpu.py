"""All that computes on a GPU, on a device that pretends to be one (`tests.pretend_gpu`): it gives what the CPU gives,
and no operator meets tensors of both."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from ilm.baselines.sasrec_training import train_sasrec
from ilm.cf import factors as cf_factors
from ilm.eval.plain_text import plain_text
from ilm.files import read_json
from ilm.model.shards import WHOLE
from ilm.model.storage import HISTORY, load_bridge
from ilm.rank.generation import GenerationRecommender
from ilm.rank.head import HeadRecommender
from ilm.rank.names import name_tokens
from ilm.serve.item_language_model import ItemLanguageModel
from ilm.train.distributed import Hardware
from ilm.train.run_finetune import FinetuneInputs, run_finetune
from ilm.train.run_pretrain import PretrainInputs, run_pretrain
from ilm.train.settings import read_settings
from tasks.export import export_features
from tests.ilm.baselines.test_sasrec_training import HELD_OUT, ITEMS, LOGS, SIZES, TRAINING
from tests.ilm.serve.conftest import make_model
from tests.pretend_gpu import pretend_gpu, process_with_gpu
from tests.tiny_project import write_project

CPU = torch.device("cpu")
HISTORIES = [np.array(items, np.int32) for items in ([3], [1, 4, 7, 2, 6], [7, 7, 3])]


@pytest.fixture(scope="module")
def on_gpu() -> Iterator[Callable[..., Any]]:
    with process_with_gpu() as call:
        yield lambda function, *args: call(_there, function, *args)


def _there(function: Callable[..., Any], *args: Any) -> Any:
    with pretend_gpu() as device:
        return function(device, *args)


def trained(device: torch.device, features: Path, out: Path) -> list[list[dict[str, float]]]:
    """Every step of both stages."""
    settings = read_settings(features, [])
    hardware = Hardware(device, WHOLE, "fp32")
    with (
        mock.patch("ilm.train.run_pretrain.find_hardware", lambda precision: hardware),
        mock.patch("ilm.train.run_finetune.find_hardware", lambda precision: hardware),
    ):
        model, checkpoints = settings["model"], out / "checkpoints"
        run_pretrain(PretrainInputs.in_folder(features), out / "encoder", model, settings["pretrain"], checkpoints)
        inputs = FinetuneInputs.in_folder(features, out / "encoder")
        run_finetune(inputs, out / "ilm", model, settings["finetune"], 4, checkpoints)
    return [read_json(out / folder / HISTORY) for folder in ("encoder", "ilm")]


@pytest.mark.parametrize(
    "settings",
    [
        {
            "pretrain": {"steps": 4},
            "finetune": {"encoder_learning_rate": 1e-4, "gradient_accumulation": 2, "wish_prompts": 16, "steps": 4},
        },
        pytest.param(
            {"model": {"encoder": "mlp"}, "pretrain": {"recipe": "none"}, "finetune": {"item_context": False}},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {
                "model": {"encoder": "text"},
                "pretrain": {"recipe": "none"},
                "finetune": {"mixture": {"sequential": 3, "straightforward": 1, "conversation": 1}},
            },
            marks=pytest.mark.slow,
        ),
    ],
)
def test_training_has_the_losses_of_the_cpu(
    settings: dict[str, Any], on_gpu: Callable[..., Any], tmp_path: Path
) -> None:
    features = tmp_path / "features"
    export_features(write_project(tmp_path / "project", **settings), features)

    here, there = trained(CPU, features, tmp_path / "cpu"), on_gpu(trained, features, tmp_path / "gpu")

    for step, other in zip(chain(*here), chain(*there), strict=True):
        assert other == pytest.approx(step, rel=1e-3), step["step"]


def sasrec(device: torch.device) -> list[dict[str, float]]:
    """Every step of the baseline's training."""
    training = replace(TRAINING, sizes=replace(SIZES, dropout=0.0))  # which draws from the device's own generator
    return train_sasrec(LOGS, HELD_OUT, ITEMS, training, hardware=Hardware(device, WHOLE, "fp32"))[1]


def test_sasrec_has_the_losses_of_the_cpu(on_gpu: Callable[..., Any]) -> None:
    for step, other in zip(sasrec(CPU), on_gpu(sasrec), strict=True):
        assert other == pytest.approx(step, rel=1e-3), step["step"]


def answers(device: torch.device, folder: Path) -> dict[str, Any]:
    """What a model says, in all the ways it can be asked: scores."""
    model = ItemLanguageModel.from_pretrained(folder, device=device)
    reply = model.chat([{"role": "user", "content": "Something like Heat (1995)?"}], user="alice")
    why = model.explain("Ronin (1998)", history=["i0", "Matrix, The (1999)"])
    grown = model.with_items([{"item_id": "new", "title": "Brand New (2001)"}])
    return {
        "rank": [found.score for found in model.rank(user="alice", k=5)],
        "chat": [found.score for found in reply.items],
        "explain": [why.score, *(item.similarity for item in why.history)],
        "encoded": model.encode_items(["i0"]).numpy(),
        "grown": [found.score for found in grown.rank(history=["Ronin (1998)"], k=5)],
    }


def by_all_rankings(device: torch.device, folder: Path) -> dict[str, Any]:
    """Scores by the head and by generation, and the likelihood of plain text."""
    bridge, card = load_bridge(folder / "model")
    bridge.move(device)
    factors = cf_factors.load(folder / "cf.safetensors")
    names = name_tokens(bridge.language_model, [f"Item {number}" for number in range(card.items)])
    generation = GenerationRecommender(bridge, card, factors, names, np.arange(card.items) != 5, beams=3, batch_size=2)
    head = HeadRecommender(bridge, card, factors, batch_size=2)
    candidates = np.array([[1, 2], [3, 4], [0, 7]])
    return {
        "head": head.score("sequential", HISTORIES),
        "user": head.score("straightforward", HISTORIES),
        "beams": generation.score("sequential", HISTORIES),
        "exact": generation.log_likelihoods("sequential", HISTORIES),
        "some": generation.log_likelihoods("straightforward", HISTORIES, candidates),
        "plain_text": list(plain_text(bridge).values()),
    }


@pytest.mark.parametrize("kind", ["qformer", "mlp", "text"])
def test_answers_are_those_of_the_cpu(kind: str, on_gpu: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_model(tmp_path, kind)
    ways = (by_all_rankings, answers) if kind != "text" else (by_all_rankings,)  # with titles it cannot take new items

    for way in ways:
        here, there = way(CPU, folder), on_gpu(way, folder)
        for name, found in here.items():
            np.testing.assert_allclose(there[name], found, rtol=1e-3, atol=1e-4, err_msg=name)
