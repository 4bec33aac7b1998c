"""Training state on disk: safetensors and JSON, never pickle. A checkpoint belongs to one key."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ilm.errors import ArtifactError
from ilm.files import digest, read_json, replaced, write_json


@dataclass(frozen=True)
class CheckpointStore:
    """The latest checkpoint of one training, in `folder / key`.

    `key` is a digest of everything that shapes the training (settings, inputs, code): another key is another training.
    """

    folder: Path
    key: str

    def part(self, name: str) -> "CheckpointStore":
        """The store of a part of this training that goes before the rest."""
        return CheckpointStore(self.folder, f"{self.key}-{name}")

    @property
    def path(self) -> Path:
        """Folder of the latest checkpoint."""
        return self.folder / self.key

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        history: list[dict[str, float]],
        best: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Replace the latest checkpoint by the state after `step` steps; checkpoints of other keys are removed.

        `best`: the model's state at the best evaluation so far, if the training keeps it.
        """
        with replaced(self.path) as temporary:
            temporary.mkdir()
            state = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
            save_file(state, temporary / "model.safetensors")
            save_file(_flatten(optimizer.state_dict()["state"]), temporary / "optimizer.safetensors")
            if best is not None:
                save_file(dict(best), temporary / "best.safetensors")
            write_json(temporary / "progress.json", {"step": step, "history": history, "best": best is not None})
        for other in self.folder.iterdir():
            if not other.name.startswith((self.key.split("-")[0], ".")):
                shutil.rmtree(other)

    def load(
        self, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[int, list[dict[str, float]], dict[str, Tensor] | None]:
        """Restore model and optimizer in place; returns the number of steps done, the history and the best state;
        (0, [], None) if there is no checkpoint.

        Raises:
            ArtifactError: the checkpoint is damaged, or does not fit the model.
        """
        if not self.path.is_dir():
            return 0, [], None
        progress = read_json(self.path / "progress.json")
        try:
            model.load_state_dict(load_file(self.path / "model.safetensors"), strict=True)
            state = _unflatten(load_file(self.path / "optimizer.safetensors"))
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
            best = load_file(self.path / "best.safetensors") if progress["best"] else None
            return int(progress["step"]), list(progress["history"]), best
        except Exception as error:  # safetensors and torch raise many kinds; all mean the same here
            raise ArtifactError(f"{self.path}: checkpoint not loadable ({error}). Delete {self.path}.") from error


def training_key(settings: Sequence[Any], inputs: Sequence[Path]) -> str:
    """Digest of a training's settings, input files or folders, and this library's code: 16 hexadecimal digits."""
    whole = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    code = Path(__file__).parents[1]
    for path in [*inputs, *sorted(code.rglob("*.py"))]:
        whole.update(digest(path).encode())
    return whole.hexdigest()[:16]


def _flatten(state: Mapping[int, Mapping[str, Any]]) -> dict[str, Tensor]:
    """Optimizer state -> `{"<parameter>.<name>": tensor}`."""
    return {
        f"{index}.{name}": torch.as_tensor(value).cpu()
        for index, values in state.items()
        for name, value in values.items()
    }


def _unflatten(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    return state
