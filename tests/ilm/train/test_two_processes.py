"""Two processes (gloo, CPU) do what one does with the same, whole batch: losses, weights, files, failures."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ilm.files import digest, read_json
from ilm.train.run_finetune import FinetuneInputs, run_finetune
from ilm.train.run_pretrain import PretrainInputs, run_pretrain
from ilm.train.settings import read_settings
from tasks.export import export_features
from tests.fake_project import ROOT
from tests.ilm.train.test_stage2 import NO_GRADIENT
from tests.tiny_project import write_project


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    export_features(write_project(folder / "project"), folder / "features")
    return folder / "features"


@pytest.fixture(scope="module")
def one(features: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one")
    settings = read_settings(features, [])
    inputs = PretrainInputs.in_folder(features)
    run_pretrain(inputs, out / "encoder", settings["model"], settings["pretrain"], out / "checkpoints")
    finetune_inputs = FinetuneInputs.in_folder(features, out / "encoder")
    run_finetune(finetune_inputs, out / "ilm", settings["model"], settings["finetune"], 4, out / "checkpoints")
    return out


@pytest.fixture(scope="module")
def two(features: Path, one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(__file__).parent / "two_processes.py"), str(features), str(one), str(out)]
    processes = []
    for rank in ("0", "1"):
        environment = os.environ | common | {"RANK": rank, "LOCAL_RANK": rank}
        with (out / f"stdout_{rank}").open("wb") as stdout, (out / f"stderr_{rank}").open("wb") as stderr:
            processes.append(subprocess.Popen(command, env=environment, stdout=stdout, stderr=stderr))
    try:
        codes = [process.wait(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 0], [(out / f"stderr_{rank}").read_text() for rank in (0, 1)]
    return out


@pytest.mark.parametrize("model", ["encoder", "ilm"])
def test_two_processes_have_the_losses_of_one_in_every_step(one: Path, two: Path, model: str) -> None:
    expected, found = (read_json(folder / model / "history.json") for folder in (one, two))
    assert len(expected) == len(found) == 8
    for ours, theirs in zip(found, expected, strict=True):
        # Random tiny items look alike: the gradient is in the hundreds, and so is its rounding.
        assert ours.pop("gradient_norm", 0) == pytest.approx(theirs.pop("gradient_norm", 0), rel=1e-3)
        assert ours == pytest.approx(theirs, rel=5e-5)


def test_stage_1_had_all_its_losses(one: Path) -> None:
    names = {name for record in read_json(one / "encoder/history.json") for name in record}
    losses = {"itc", "itm", "itg", "ii", "ui"}
    assert losses | {f"held_out_{name}" for name in losses} | {"held_out_loss", "query_cosine"} <= names


@pytest.mark.parametrize("model", ["encoder", "ilm"])
def test_two_processes_end_with_the_weights_of_one(one: Path, two: Path, model: str) -> None:
    expected, found = (load_file(folder / model / "model.safetensors") for folder in (one, two))
    for name, tensor in expected.items():
        if not name.endswith(NO_GRADIENT):
            torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=5e-5, msg=name)


def test_language_model_in_parts_trains_the_bytes_that_a_whole_one_in_each_process_does(two: Path) -> None:
    assert digest(two / "ilm_spread") == digest(two / "ilm")


def test_process_keeps_its_part_of_the_layers_and_notices_a_change_of_it(two: Path) -> None:
    kept, noticed = zip(*(read_json(two / f"rank_{rank}/spread.json")[::2] for rank in (0, 1)), strict=True)
    (_, whole, _) = read_json(two / "rank_0/spread.json")
    assert max(kept) < 0.8 * whole, "layers are the half of the tiny model"
    assert sum(kept) > whole
    assert noticed == (True, True)


def test_gathered_rows_carry_the_sum_of_all_processes_gradients(two: Path) -> None:
    """Process r's loss is (1 + r) * <rows, (1, 2, 3, 4)>: a row's gradient is (1 + 2) times its factor."""
    assert (two / "rank_0/gathered").read_text() == "[1.0, 2.0, 3.0, 4.0] [3.0, 6.0]"
    assert (two / "rank_1/gathered").read_text() == "[1.0, 2.0, 3.0, 4.0] [9.0, 12.0]"


def test_training_that_diverges_in_one_process_ends_in_both(two: Path) -> None:
    for rank in (0, 1):
        assert "loss nan" in (two / f"rank_{rank}/diverged").read_text()


def test_processes_that_see_different_checkpoints_do_not_train(two: Path) -> None:
    for rank in (0, 1):
        assert "checkpoints of 3 / 0 steps" in (two / f"rank_{rank}/apart").read_text()


def test_only_the_main_process_writes_and_logs(two: Path) -> None:
    assert (two / "stdout_0").read_text().count("step 0  context_loss") == 1
    assert (two / "stdout_1").read_text() == ""
