"""`ilm elm`: references, systems and their comparison on the project's features; what was made once is kept."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.bench import OWN, WORK, alone, with_overrides
from ilm.errors import ConfigError
from ilm.params import Params, load_params
from tasks import paths

if TYPE_CHECKING:
    from ilm.train.settings import Settings

SYSTEMS = ("ilm", "ilm-rand", "mlp", "text")
RESULTS = Path("reports/elm")
REFERENCES = (
    "teacher", "teacher_model", "endpoint", "endpoint_options", "file", "items", "held_out_items", "max_answer_tokens",
    "seed",
)  # fmt: skip
"""Settings of section `elm` that decide what the references are."""
_CODE = ("cf", "elm", "model", "prompts", "train")
_NOT_A_NAME = re.compile(r"[^\w ./-]")
"""What MLflow's names of metrics may not have."""


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    systems: tuple[str, ...] = ()
    """The first is tested against the others. Empty: SYSTEMS."""
    seeds: int = 1
    """Trainings of each system, with elm.seed, elm.seed + 1, …; what is held out stays the same."""
    overrides: tuple[str, ...] = ()
    command: str = ""
    """As it was typed."""


def elm(project: Path, request: Request) -> dict[str, Any]:
    """Make what is missing, judge, and write reports/elm/; gives the content of its metrics.json.

    Raises:
        IlmError: the request or the settings are wrong, the pipeline has not run, or a training failed.
    """
    from ilm.elm.run_judging import judge_systems

    params = with_overrides(load_params(project / "params.yaml"), request.overrides)
    request = replace(request, systems=request.systems or SYSTEMS)
    _require_held_out_items(params)
    settings, work, features = params.model_dump(by_alias=True), project / WORK / OWN, project / paths.FEATURES
    settings_of = _systems(request.systems, settings)
    with alone(work):
        encoders = {name: _encoder(features, work / "kept", of, name) for name, of in settings_of.items()}
        references = _references(features, work / "elm", settings)
        models: dict[str, list[Path]] = {}
        for turn in range(request.seeds):
            for name, of in settings_of.items():
                if turn == 0 or of["model"]["encoder"] != "text":  # nothing of it is trained
                    seeded = of | {"elm": of["elm"] | {"seed": params.elm.seed + turn}}
                    model = _model(features, work / "elm", encoders[name], references, seeded, name)
                    models.setdefault(name, []).append(model)
        judged = work / "elm" / "judged"
        metrics = judge_systems(features, references, models, judged, settings)
        _record(project, request, params, judged, metrics)
    return metrics


def _require_held_out_items(params: Params) -> None:
    """Stage 1 must keep out what ELM-24 judges by, or the encoder has read the texts of it."""
    pretrain, finetune = params.pretrain, params.finetune
    if pretrain.seed != finetune.seed or pretrain.held_out_fraction < finetune.held_out_fraction:
        raise ConfigError(
            "ELM-24 judges by the items that finetune.held_out_fraction and finetune.seed hold out, and stage 1 must "
            "not have read their texts: pretrain.seed must be finetune.seed, and pretrain.held_out_fraction at least "
            "finetune.held_out_fraction. Change them in params.yaml or by --set."
        )


def _systems(names: Sequence[str], settings: "Settings") -> dict[str, "Settings"]:
    from ilm.bench.variants import VARIANTS, varied

    if unknown := [name for name in names if name not in VARIANTS]:
        known = ", ".join(VARIANTS)
        raise ConfigError(f"--systems: none with a language model is called {', '.join(unknown)}. There are: {known}.")
    return {name: varied(settings, VARIANTS[name], settings["pretrain"]["seed"], name) for name in names}


def _encoder(features: Path, kept: Path, settings: "Settings", name: str) -> Path:
    """The same one as in `ilm bench project`."""
    from ilm.bench.training import Training

    training = Training(features, kept, settings, name)
    training.run_stage1()
    return training.encoder


def _references(features: Path, folder: Path, settings: "Settings") -> Path:
    """Made once for the same teacher, catalogue and CF vectors (of neighbours); code that changes asks nothing anew."""
    from ilm.bench.kept import key_of
    from ilm.elm.run_references import make_references

    asked = {name: settings["elm"][name] for name in REFERENCES}
    held_out = {name: settings["finetune"][name] for name in ("held_out_fraction", "seed")}
    inputs = [features / "catalogue.parquet", features / "cf.safetensors"]
    given = [Path(asked["file"])] if asked["file"] else []
    references = folder / f"references-{key_of([asked, held_out], [*inputs, *given], ())}"
    make_references(features, references, settings)
    return references


def _model(features: Path, folder: Path, encoder: Path, references: Path, settings: "Settings", name: str) -> Path:
    from ilm.bench.kept import key_of, once
    from ilm.bench.progress import printing
    from ilm.elm.run_training import train_system

    shaping = [encoder.name, *(settings[section] for section in ("model", "finetune", "elm"))]
    model = folder / "models" / key_of(shaping, [references, features / "cf.safetensors"], _CODE)
    progress = printing(f"{name}  ELM-24, seed {settings['elm']['seed']}")

    def train() -> None:
        train_system(features, references, encoder, model, settings, folder / "checkpoints", progress)

    once(model, train, "train")
    return model


def _record(project: Path, request: Request, params: Params, judged: Path, metrics: Mapping[str, Any]) -> None:
    """The numbers and how they came, whole or not at all; then all of it as an MLflow run."""
    import yaml

    from flows.bench_record import environment
    from ilm.elm.comparison import METRICS
    from ilm.elm.table import markdown
    from ilm.files import replaced, write_json, write_text
    from tasks.environment import use_project
    from tasks.lineage import origin
    from tasks.tracking import Store

    with replaced(project / RESULTS) as folder:
        shutil.copytree(judged, folder)
        write_text(folder / "table.md", markdown(metrics))
        write_text(folder / "command.txt", request.command + "\n")
        write_text(folder / "params.yaml", yaml.safe_dump(params.model_dump(by_alias=True), sort_keys=False))
        write_json(folder / "environment.json", environment(project))
    use_project(project)
    averages = {
        f"{metric}_{_NOT_A_NAME.sub('', system)}": tasks["average"]["mean"]
        for metric in METRICS
        for system, tasks in metrics[metric]["intervals"].items()
    }
    settings = {"command": request.command, "seeds": str(request.seeds)}
    with Store.open(project).run("elm", origin(project), {"ilm.bench": "elm"}, settings) as run:
        run.log_metrics(averages)
        run.log_folder(project / RESULTS)
