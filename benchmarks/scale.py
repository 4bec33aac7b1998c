"""Time and memory of the steps that work on tables, against the length of the log.

`python -m benchmarks.scale --rows 1000000 5000000 25000000` runs each step as `dvc repro` does, a process of its own,
on a made-up log (`benchmarks.synthetic_log`), and writes reports/scale/scale.json and scale.png: figures, slopes,
curves. `--spark 1000000 5000000` runs `cf` with Spark on these cores as well, at those lengths.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.synthetic_log import write
from ilm.files import write_json

TABLES = ("ingest", "validate", "split", "cf", "pairs")
"""Steps that go through the whole log."""
STEPS = (*TABLES, "pretrain", "finetune", "evaluate")
SPARK = "cf, Spark"
"""Step `cf` with the other engine."""
REPORT = Path("reports/scale")
USERS = 1000
"""Who are asked in step `evaluate`."""
SETTINGS: dict[str, dict[str, Any]] = {
    "data": {"source": "folder", "settle_seconds": 0},
    "split": {"strategy": "global_time"},
    "pretrain": {"steps": 20},
    "finetune": {"steps": 10, "wish_prompts": 0, "item_context": False},
    "evaluate": {"max_users": USERS, "conversation_users": 1},
}
"""Stage 1 and stage 2 take steps that do not depend on the log; a few, so that there is something to evaluate."""


def main(rows: list[int], spark: list[int], scratch: Path | None) -> None:
    """Measure, fit, write the report."""
    measured = []
    for count in rows:
        with tempfile.TemporaryDirectory(prefix="ilm-scale-", dir=scratch) as folder:
            project = Path(folder) / "project"
            steps = measure(project, count) | ({SPARK: measure_spark(project)} if count in spark else {})
        measured.append({"rows": count, "steps": steps})
        print(json.dumps(measured[-1]), flush=True)
        REPORT.mkdir(parents=True, exist_ok=True)
        write_json(REPORT / "scale.json", {"measured": measured, "slopes": slopes(measured)})
    draw(measured, REPORT / "scale.png")


def measure(project: Path, rows: int) -> dict[str, dict[str, float]]:
    """Seconds and peak memory (MB) of each step."""
    (project / "data/previous").mkdir(parents=True)  # of a first generation
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(name, project / name)
    _set(project, SETTINGS)
    write(project / "data", rows)
    return {step: _step(project, step) for step in STEPS}


def measure_spark(project: Path) -> dict[str, float]:
    """Of step `cf` on Spark, over again; the memory is that of Python or of Java, whichever has more."""
    _set(project, {"cf": {"backend": "spark", "spark_master": "local[2]"}})
    return _step(project, "cf")


def _set(project: Path, settings: dict[str, dict[str, Any]]) -> None:
    file = project / "params.yaml"
    params = yaml.safe_load(file.read_text(encoding="utf-8"))
    for section, values in settings.items():
        params[section] |= values
    file.write_text(yaml.safe_dump(params), encoding="utf-8")


def _step(project: Path, step: str) -> dict[str, float]:
    command = [sys.executable, "-m", f"tasks.{step}"]
    done = subprocess.run(command, cwd=project, env=_environment(), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"step {step}: {done.stderr.strip()}")
    cost = json.loads((project / f"reports/cost/{step}.json").read_text(encoding="utf-8"))
    print(f"{step}: {cost['seconds']:.0f} s, {cost['peak_memory_mb']:.0f} MB", file=sys.stderr, flush=True)
    return {"seconds": cost["seconds"], "mb": cost["peak_memory_mb"]}


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path.cwd()), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}


def slopes(measured: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Of a straight line through each step's figures: seconds and GB for a million rows more, GB of none at all."""
    fitted = {}
    for step in (*STEPS, SPARK):
        timed, weighed = known(measured, step, "seconds"), known(measured, step, "mb")
        if min(len(timed[0]), len(weighed[0])) > 1:
            (seconds, _), (megabytes, of_none) = np.polyfit(*timed, 1), np.polyfit(*weighed, 1)
            fitted[step] = {
                "seconds_per_million": round(float(seconds), 3),
                "gb_per_million": round(float(megabytes) / 1e3, 4),
                "gb_of_none": round(float(of_none) / 1e3, 2),
            }
    return fitted


def known(measured: list[dict[str, Any]], step: str, name: str) -> tuple[list[float], list[float]]:
    """Million rows, and a step's "seconds" or "mb" there, where it was measured."""
    having = [entry for entry in measured if name in entry["steps"].get(step, {})]
    return [entry["rows"] / 1e6 for entry in having], [entry["steps"][step][name] for entry in having]


def draw(measured: list[dict[str, Any]], path: Path) -> None:
    """Two plots: seconds, and memory, against rows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, both = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for axes, name, label, scale in ((both[0], "seconds", "seconds", 1.0), (both[1], "mb", "peak memory, GB", 1e-3)):
        for step in (*STEPS, SPARK):
            millions, values = known(measured, step, name)
            if millions:
                axes.plot(millions, np.array(values) * scale, marker="o", label=step)
        axes.set(xlabel="million interactions", ylabel=label, ylim=(0, None), xlim=(0, None))
        axes.grid(alpha=0.3)
    figure.legend(*both[1].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000, 25_000_000])
    parser.add_argument("--spark", type=int, nargs="*", default=[], help="at which of these lengths `cf` on Spark, too")
    parser.add_argument("--scratch", type=Path, help="where the made-up logs go; a temporary folder if not said")
    arguments = parser.parse_args()
    main(arguments.rows, arguments.spark, arguments.scratch)
