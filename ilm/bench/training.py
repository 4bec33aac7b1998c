"""A system with a language model and a seed: where its encoder and its model are kept, and how they are made.

Encoders are shared by all systems with the same settings of stage 1. A training that was cut short goes on from its
checkpoint.
"""

from pathlib import Path
from typing import Any

from ilm.bench.diagnoses import DIAGNOSES
from ilm.bench.kept import key_of, once
from ilm.bench.progress import printing
from ilm.files import digest, read_json
from ilm.model.bridge import Bridge
from ilm.model.devices import devices
from ilm.model.storage import CONFIG, HISTORY, BridgeCard, load_bridge
from ilm.train.run_finetune import FinetuneInputs, run_finetune
from ilm.train.run_pretrain import PretrainInputs, run_pretrain
from ilm.train.settings import Settings

_PRETRAIN_CODE = ("cf", "model", "train")
_FINETUNE_CODE = (*_PRETRAIN_CODE, "prompts")


class Training:
    """What `python -m ilm.train` does by hand, under names that say what it was done with."""

    def __init__(self, features: Path, out: Path, settings: Settings, label: str) -> None:
        """Find the names.

        Args:
            features: folder with what the steps `split`, `cf` and `pairs` wrote.
            out: folder of what is kept.
            settings: of all sections, with the seed.
            label: of the system, for progress.
        """
        self._features, self._settings, self._label = features, settings, label
        self._checkpoints = out / "checkpoints"
        model, pretrain, finetune = (settings[section] for section in ("model", "pretrain", "finetune"))
        weights = [Path(model[name]) for name in ("text_encoder", "llm") if Path(model[name]).is_dir()]

        self._stage1 = PretrainInputs.in_folder(features)
        stage1_key = key_of([model, pretrain], [*vars(self._stage1).values(), *weights], _PRETRAIN_CODE)
        self.encoder = out / "encoders" / stage1_key

        self._stage2 = FinetuneInputs.in_folder(features, self.encoder)
        read = [path for path in vars(self._stage2).values() if path != self.encoder]
        whole = [stage1_key, model, finetune, settings["pairs"]["max_history"]]
        self.key = key_of(whole, [*read, *weights], _FINETUNE_CODE)
        """Names the finished model before there is one."""
        self.model = out / "models" / self.key

    def run(self) -> dict[str, float]:
        """Train what is missing; gives the seconds of each stage where known (of its last attempt)."""
        return self.run_stage1() | once(self.model, self._finetune, "finetune")

    def run_stage1(self) -> dict[str, float]:
        """Train the encoder alone, if it is missing."""
        return once(self.encoder, self._pretrain, "pretrain")

    def trained(self, diagnosis: str) -> tuple[Bridge, BridgeCard]:
        """The trained model, with a part taken away (a name in DIAGNOSES)."""
        bridge, card = load_bridge(self.model)
        DIAGNOSES[diagnosis](bridge)
        return bridge.move(devices()[0]), card

    def record(self) -> dict[str, Any]:
        """What the trained system is: settings, digests, curves."""
        folders = {"stage 1": self.encoder, "stage 2": self.model}
        return {
            "settings": {section: self._settings[section] for section in ("model", "pretrain", "finetune")},
            "sha256": {stage: digest(folder) for stage, folder in folders.items()}
            | {"language model": read_json(self.model / CONFIG)["language_model_sha256"]},
            "curves": {stage: read_json(folder / HISTORY) for stage, folder in folders.items()},
        }

    def _pretrain(self) -> None:
        settings, checkpoints = self._settings, self._checkpoints / "pretrain"
        progress = printing(f"{self._label}  stage 1")
        run_pretrain(self._stage1, self.encoder, settings["model"], settings["pretrain"], checkpoints, progress)

    def _finetune(self) -> None:
        settings, checkpoints = self._settings, self._checkpoints / "finetune"
        progress, history = printing(f"{self._label}  stage 2"), settings["pairs"]["max_history"]
        run_finetune(self._stage2, self.model, settings["model"], settings["finetune"], history, checkpoints, progress)
