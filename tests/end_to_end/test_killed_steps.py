"""Kill -9 in the middle of a true step, run again: it continues, and ends with the artifacts of an undisturbed run."""

import shutil
import subprocess
from pathlib import Path

import psutil
import pytest
import yaml

from flows.stages import STEPS
from ilm.files import digest
from tests.fake_project import run, start, wait_until

FAST = ("split", "finetune")
CHECKPOINTED = ("pretrain", "finetune")
CHANGING = ("reports/metrics.json", "reports/report.html")
"""Hold seconds, so no two runs of `evaluate` agree on them."""


@pytest.mark.parametrize(
    "step", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in STEPS]
)
def test_killed_step_leaves_nothing_finished_and_a_rerun_gives_the_same(
    trained: Path, tmp_path: Path, step: str
) -> None:
    project = Path(shutil.copytree(trained, tmp_path / "project", symlinks=True))
    stage = yaml.safe_load((project / "dvc.yaml").read_text())["stages"][step]
    cost = project / f"reports/cost/{step}.json"
    listed = [out if isinstance(out, str) else next(iter(out)) for out in (*stage["outs"], *stage["metrics"])]
    outputs = [path for path in listed if path not in CHANGING and "cost" not in path]
    undisturbed = {path: digest(project / path) for path in outputs}
    shutil.rmtree(project / ".checkpoints", ignore_errors=True)

    again = ("-m", "dvc", "repro", "--force", "--single-item", step)  # or DVC would bring the outputs from its cache
    dvc = start(project, *again)
    assert dvc.stdout is not None
    while dvc.stdout.readline() != f"{step}  started\n".encode():
        assert dvc.poll() is None, "dvc ended before the step began"
    process = step_process(dvc, step)
    if step in CHECKPOINTED:
        wait_until(lambda: any((project / ".checkpoints" / step).glob("*/progress.json")))
    process.kill()
    dvc.communicate()
    assert dvc.returncode != 0
    assert not cost.exists()

    done = run(project, *again)
    assert done.returncode == 0, done.stderr
    assert f"{step}  done in" in done.stdout
    assert {path: digest(project / path) for path in outputs} == undisturbed
    if step in CHECKPOINTED:
        assert first_step_of_last_run(project, step) > 0, "it went on from the checkpoint"


def step_process(dvc: "subprocess.Popen[bytes]", step: str) -> psutil.Process:
    """The process of the step."""
    children = psutil.Process(dvc.pid).children(recursive=True)
    return next(child for child in children if child.cmdline()[1:] == ["-m", f"tasks.{step}"])


def first_step_of_last_run(project: Path, step: str) -> int:
    """The first training step that the step's latest MLflow run logged."""
    from tasks.tracking import Store

    store = Store.open(project)
    (latest,) = store.client.search_runs(
        [store.experiment_id], f"tags.`ilm.step` = '{step}'", order_by=["attributes.start_time DESC"], max_results=1
    )
    metrics = sorted(latest.data.metrics.keys() & {"context_loss", "loss"})  # the part that comes first, if it was left
    return min(point.step for point in store.client.get_metric_history(latest.info.run_id, metrics[0]))
