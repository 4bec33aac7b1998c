"""Steps `pretrain` and `finetune` under `torchrun` train what they train in their own process, also when a process is
killed in between. Two gloo processes on the CPU."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ilm.files import digest, read_json
from ilm.params import load_params
from tasks import finetune, launch, paths, pretrain
from tests.fake_project import ROOT
from tests.ilm.train.test_stage2 import NO_GRADIENT
from tests.small_logs import FakeStep
from tests.tiny_project import write_project

pytestmark = pytest.mark.slow

KILLED = Path(__file__).parent / "killed_once.py"


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`local`, `torchrun`, and `killed`: the same, but its stage 2 had a process killed."""
    home, found = tmp_path_factory.mktemp("launched"), {}
    write_project(home / "start")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        for name in ("local", "torchrun", "killed"):
            found[name] = folder = home / name
            shutil.copytree(home / "start", folder)
            patch.chdir(folder)
            step = FakeStep(load_params())
            if name != "local":
                launched = step.params.train.model_copy(update={"launcher": "torchrun", "processes": 2})
                step.params = step.params.model_copy(update={"train": launched})
            if name == "killed":
                shutil.copytree(home / "torchrun" / paths.PRETRAINED, paths.PRETRAINED)
                patch.setattr(launch, "WORKER", (str(KILLED),))
            else:
                pretrain.run(step)
            finetune.run(step)
    return found


@pytest.mark.parametrize("model", [paths.PRETRAINED, paths.FINETUNED], ids=lambda path: path.name)
def test_launched_step_has_the_losses_of_the_step_itself(projects: dict[str, Path], model: Path) -> None:
    expected, found = (read_json(projects[name] / model / "history.json") for name in ("local", "torchrun"))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.pop("gradient_norm", 0) == pytest.approx(theirs.pop("gradient_norm", 0), rel=1e-3)
        assert ours == pytest.approx(theirs, rel=5e-5)


def test_launched_step_ends_with_the_weights_of_the_step_itself(projects: dict[str, Path]) -> None:
    files = (projects[name] / paths.PRETRAINED / "model.safetensors" for name in ("local", "torchrun"))
    before, after = map(load_file, files)
    for name, tensor in before.items():
        if not name.endswith(NO_GRADIENT):
            torch.testing.assert_close(after[name], tensor, rtol=1e-4, atol=5e-5, msg=name)


def test_training_with_a_killed_process_goes_on_from_the_checkpoint_and_ends_with_the_same_bytes(
    projects: dict[str, Path],
) -> None:
    killed = projects["killed"]
    begun = {file.name: file.read_text().split() for file in killed.glob("steps-*")}
    assert begun["steps-1-0"] == [str(step) for step in range(7)]
    assert begun["steps-0-1"] == begun["steps-1-1"] == ["4", "5", "6", "7"]
    assert [record["step"] for record in read_json(killed / paths.FINETUNED / "history.json")] == list(range(8))
    assert digest(killed / paths.FINETUNED) == digest(projects["torchrun"] / paths.FINETUNED)


def test_checkpoints_hold_what_is_trained_and_nothing_of_the_language_model(projects: dict[str, Path]) -> None:
    folder = projects["torchrun"]
    (checkpoint,) = [path for path in (folder / paths.CHECKPOINTS / "finetune").iterdir() if "-" not in path.name]
    with safe_open(checkpoint / "model.safetensors", "pt") as saved:
        names = set(saved.keys())
    assert names == load_file(folder / paths.FINETUNED / "model.safetensors").keys()
    assert {name.split(".")[0] for name in names} == {"adapter", "encoder", "head"}
