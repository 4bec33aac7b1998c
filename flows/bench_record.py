"""What a benchmark leaves behind: a folder in reports/bench/ that says how its numbers came, and an MLflow run."""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilm.files import digest, replaced, write_json, write_text
from ilm.params import Params
from tasks.environment import use_project
from tasks.lineage import origin
from tasks.tracking import Run, Store

if TYPE_CHECKING:
    from flows.bench import Request
    from ilm.bench.trial import Trial
    from ilm.bench.trials import Trials

RESULTS = Path("reports/bench")
PACKAGES = ("torch", "transformers", "accelerate", "numpy", "scipy", "implicit", "polars", "safetensors", "tokenizers")
"""Those that compute."""


class Record:
    """The record of one run of a benchmark."""

    def __init__(self, project: Path, request: "Request", params: Params, store: Store, run: Run) -> None:
        self._project, self._request, self._params = project, request, params
        self._name = request.name(params)
        self._store, self._run = store, run

    @classmethod
    @contextmanager
    def open(cls, project: Path, request: "Request", params: Params) -> Iterator["Record"]:
        """Start the MLflow run, which ends with the block and says how the block ended.

        Raises:
            ArtifactError: the tracking store cannot be opened.
        """
        use_project(project)
        store = Store.open(project)
        name = request.name(params)
        params_of_run = {"command": request.command, "part": request.part, "seeds": str(request.seeds)}
        with store.run(f"bench {name}", origin(project), {"ilm.bench": name}, params_of_run) as run:
            yield cls(project, request, params, store, run)

    def write(self, trials: "Trials", done: Sequence["Trial"], not_run: Mapping[str, str]) -> tuple[Path, str]:
        """Write all results, whole or not at all, and log them. Gives the folder, and the table as Markdown."""
        import yaml

        from ilm.bench.results import markdown, write_numbers
        from ilm.report.benchmark_page import SHOWN, render_benchmark
        from ilm.report.page import LABELS
        from ilm.report.plots import interval_points

        machine = environment(self._project)
        settings = yaml.safe_dump(self._params.model_dump(by_alias=True), sort_keys=False)
        folder = self._project / RESULTS / self._name
        with replaced(folder) as new:
            metrics = write_numbers(new, trials, done, not_run)
            write_text(new / "plot.svg", interval_points(metrics, SHOWN, LABELS, "points"))
            write_text(new / "params.yaml", settings)
            write_text(new / "command.txt", self._request.command + "\n")
            write_json(new / "environment.json", machine)
            write_json(new / "hashes.json", self._hashes(trials, done))
            found = {f"{trial.system}, seed {trial.seed}": trial.record.get("checks") for trial in done}
            checks = {label: rows for label, rows in found.items() if rows}
            page = render_benchmark(self._name, metrics, self._request.command, machine, settings, checks)
            write_text(new / "report.html", page)
        self._log(metrics, folder)
        return folder, markdown(metrics)

    def _hashes(self, trials: "Trials", done: Sequence["Trial"]) -> dict[str, Any]:
        """sha256 of the data as given, of every feature, and of everything that was trained."""
        from ilm.bench.trials import TABLES

        source = Path(self._params.data.folder)
        given = self._params.data.source != "movielens-small" and source.is_absolute()
        return {
            "data": {str(source): digest(source)} if given else {},
            "features": {name: digest(trials.features / name) for name in TABLES},
            "models": {f"{trial.system} seed {trial.seed}": trial.record["sha256"] for trial in done if trial.record},
        }

    def _log(self, metrics: Mapping[str, Any], folder: Path) -> None:
        for system, tasks in metrics["per_seed"].items():
            for task, settings in tasks.items():
                for setting, values in settings.items():
                    for turn, seed in enumerate(metrics["seeds"][system]):
                        at_seed = {f"{system}_{task}_{setting}_{name}": seeds[turn] for name, seeds in values.items()}
                        self._run.log_metrics(at_seed, seed)
        self._run.log_folder(folder)


def environment(project: Path) -> dict[str, Any]:
    """What the numbers and the seconds depend on, beside settings and data."""
    import torch

    cuda = torch.cuda.is_available()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(memory, 1),
        "accelerator": torch.cuda.get_device_name() if cuda else "none",
        "packages": {name: metadata.version(name) for name in PACKAGES},
        **origin(project),
    }
