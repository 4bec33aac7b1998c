"""A small real DVC project whose three stages are named as in the true pipeline and do next to nothing.

Its steps run through the true `tasks.step.main`, so MLflow runs, cost files and exit codes are real.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
STEPS = ("ingest", "cf", "evaluate")

PARAMS = """\
data:
  folder: data/raw
cf:
  factors: 2
evaluate:
  bootstrap_samples: 100
"""

GRAPH = """\
stages:
  ingest:
    cmd: python fake.py ingest
    params: [data]
    deps: ["${data.folder}"]
    outs: [data/interim/interactions.parquet, data/interim/items.parquet]
    metrics: [reports/cost/ingest.json]
  cf:
    cmd: python fake.py cf
    params: [cf]
    deps: [data/interim/interactions.parquet]
    outs:
      - data/features/cf.safetensors
      - data/features/catalogue.parquet
      - data/features/user_ids.parquet
      - data/features/sequences.parquet
      - data/models/ilm
    metrics: [reports/cost/cf.json]
  evaluate:
    cmd: python fake.py evaluate
    params: [evaluate]
    deps: [data/models/ilm]
    outs: [data/evaluation/scores.parquet]
    metrics: [reports/metrics.json, reports/cost/evaluate.json]
"""

CODE = """\
import json
import sys
from pathlib import Path

from ilm.errors import DataError
from ilm.files import replaced, write_json, write_text
from tasks import paths
from tasks.step import Step, main


def ingest(step: Step) -> None:
    if Path("fail").exists():
        raise DataError("interactions.csv: row 7 has no user_id. Add it or drop the row.")
    text = Path("data/raw/log.txt").read_text()
    write_text(paths.INTERACTIONS, text)
    write_text(paths.ITEMS, text)


def cf(step: Step) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    factors = step.params.cf.factors
    step.log_metrics({"loss": 1.0 / factors}, at=1)
    paths.FEATURES.mkdir(parents=True, exist_ok=True)
    while Path("pause").exists():
        paths.CF_FACTORS.write_text("half")
    write_text(paths.CF_FACTORS, str(factors))
    tables = {
        paths.CATALOGUE: {"item_index": [0, 1], "item_id": ["a", "b"], "title": ["A", "B"], "active": [True, True]},
        paths.USER_IDS: {"user_index": [0], "user_id": ["u"]},
        paths.SEQUENCES: {"user_index": [0], "item_index": [0]},
    }
    for path, table in tables.items():
        with replaced(path) as temporary:
            pq.write_table(pa.table(table), temporary)
    with replaced(paths.FINETUNED) as folder:
        folder.mkdir()
        card = {"space_id": "s", "language_model": "tiny", "language_model_sha256": "0" * 64, "items": 2}
        card |= {"soft_tokens": 1, "item_embedding": True, "max_history": 4, "recipe": "none", "item_name_tokens": 0}
        card["encoder"] = {"kind": "mlp", "cf_width": factors}
        write_json(folder / "config.json", card)


def evaluate(step: Step) -> None:
    values = {name: 0.25 for name in ("hr_at_5", "hr_at_10", "ndcg_at_5", "ndcg_at_10", "mrr")}
    tasks = {"sequential": {"filtered": values, "unfiltered": values}}
    systems = {name: tasks for name in ("popularity", "als", "ilm")}
    write_text(paths.SCORES, "scores")
    data = {"users": 1, "items": 2, "interactions": 3, "cases": 1, "split": "leave_one_out"}
    write_json(paths.METRICS, {"data": data, "systems": systems})


if __name__ == "__main__":
    main(sys.argv[1], globals()[sys.argv[1]])
"""

ILM = """\
import flows.stages
import ilm.serve.item_language_model as served
from flows.cli import main


class StandIn:
    @classmethod
    def from_pretrained(cls, path):
        return cls()

    def rank(self, *, user=None, history=None, k=10):
        return [served.Recommendation("b", "B", 0.5)]


flows.stages.STEPS = ("ingest", "cf", "evaluate")
served.ItemLanguageModel = StandIn
main()
"""
"""The command line `ilm` of this project: its three steps, and a recommender that always says the same."""


def make_project(folder: Path) -> Path:
    """Create the project, under git (one commit) and DVC."""
    (folder / "data/raw").mkdir(parents=True)
    files = {
        "params.yaml": PARAMS,
        "dvc.yaml": GRAPH,
        "fake.py": CODE,
        "ilm_command.py": ILM,
        "data/raw/log.txt": "a log\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    shutil.copyfile(ROOT / ".gitignore", folder / ".gitignore")
    git(folder, "init", "--quiet")
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "start")
    return folder


def git(folder: Path, *arguments: str) -> str:
    """Run git with an identity of its own, whatever the machine has configured."""
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def run(project: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run this interpreter with the arguments in a project: run(project, "-m", "dvc", "repro")."""
    return subprocess.run(
        [sys.executable, *words], cwd=project, env=child_environment() | environment, capture_output=True, text=True
    )


def start(project: Path, *words: str) -> "subprocess.Popen[bytes]":
    """As `run`, but do not wait; what it prints can be read, errors are dropped."""
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=project,
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def step_process(ancestor: "subprocess.Popen[bytes]", step: str, sign: Path) -> psutil.Process:
    """The Python process under `ancestor` that runs a step, as soon as the step has written the file `sign`."""
    found: list[psutil.Process] = []

    def look() -> bool:
        for child in psutil.Process(ancestor.pid).children(recursive=True):
            with suppress(psutil.Error):  # ended meanwhile
                if child.cmdline()[1:] == ["fake.py", step]:
                    found.append(child)
        return bool(found) and sign.exists()

    wait_until(look)
    return found[0]


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Poll until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def wait_for_end(process: psutil.Process) -> None:
    """Until a process that is no child of ours has ended; where nobody reaps orphans, it stays as a zombie."""

    def ended() -> bool:
        try:
            return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    wait_until(ended, 30.0)


def child_environment() -> dict[str, str]:
    """This process's, with the interpreter's folder in PATH and without what a test or a step may have set."""
    own = ("MLFLOW_TRACKING_URI", "ILM_EXECUTION", "DVC_STAGE", "DVC_ROOT")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {key: value for key, value in os.environ.items() if key not in own} | {"PATH": path}
