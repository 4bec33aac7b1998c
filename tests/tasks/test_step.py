import errno
import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from ilm.errors import ArtifactError, ConfigError, DataError
from tasks import paths
from tasks.step import Step, main, run_step
from tasks.tracking import FLUSH_EVERY, Store


def write_outputs(step: Step) -> None:
    for path in (paths.INTERACTIONS, paths.ITEMS):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("rows")


def runs(project: Path) -> dict[str, Run]:
    """Step name -> its run, of all in the project's store."""
    store = Store.open(project)
    return {run.data.tags["ilm.step"]: run for run in store.client.search_runs([store.experiment_id])}


def test_step_leaves_a_finished_child_run_under_a_finished_parent(project: Path) -> None:
    run_step("ingest", write_outputs)
    found = runs(project)
    assert found["ingest"].data.tags["mlflow.parentRunId"] == found["pipeline"].info.run_id
    assert {run.info.status for run in found.values()} == {"FINISHED"}


def test_run_has_the_settings_of_its_own_sections(project: Path) -> None:
    run_step("ingest", write_outputs)
    params = runs(project)["ingest"].data.params
    assert params["data.folder"] == "data/raw"
    assert params["data.interaction_columns"] == "{}"
    assert {name.split(".")[0] for name in params} == {"data"}


def test_run_is_tagged_with_code_and_data_that_it_saw(project: Path) -> None:
    from tests.fake_project import git

    run_step("ingest", write_outputs)
    tags = runs(project)["ingest"].data.tags
    assert tags["git.commit"] == git(project, "rev-parse", "HEAD")
    assert tags["git.dirty"] == "false"
    assert tags["dvc.lock.sha256"] == "none"
    assert {"input.data/raw", "output.data/interim/items.parquet"} <= tags.keys()


def test_md5_tags_are_those_of_dvc_lock(finished_project: Path) -> None:
    import yaml

    stage = yaml.safe_load((finished_project / "dvc.lock").read_text())["stages"]["cf"]
    tags = runs(finished_project)["cf"].data.tags
    assert {f"output.{out['path']}": out["md5"] for out in stage["outs"] if "cost" not in out["path"]} == {
        key: value for key, value in tags.items() if key.startswith("output.")
    }
    assert tags["input.data/interim/interactions.parquet"] == stage["deps"][0]["md5"]


def test_plain_dvc_repro_is_one_pipeline_run_with_a_child_per_step(finished_project: Path) -> None:
    store = Store.open(finished_project)
    found = store.client.search_runs([store.experiment_id])
    assert sorted(run.data.tags["ilm.step"] for run in found) == ["cf", "evaluate", "ingest", "pipeline"]
    assert len({run.data.tags["mlflow.parentRunId"] for run in found if "mlflow.parentRunId" in run.data.tags}) == 1


def test_steps_of_one_execution_share_a_parent(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for execution in ("monday", "monday", "tuesday"):
        monkeypatch.setenv("ILM_EXECUTION", execution)
        run_step("ingest", write_outputs)
    store = Store.open(project)
    found = store.client.search_runs([store.experiment_id], "tags.`ilm.step` = 'pipeline'")
    assert sorted(run.data.tags["ilm.execution"] for run in found) == ["monday", "tuesday"]


def test_cost_file_says_time_memory_and_run(project: Path) -> None:
    run_step("ingest", write_outputs)
    cost = json.loads((paths.COST / "ingest.json").read_text())
    assert cost.keys() == {"seconds", "peak_memory_mb", "finished_at", "mlflow_run_id"}
    assert cost["mlflow_run_id"] == runs(project)["ingest"].info.run_id
    assert cost["seconds"] >= 0
    assert cost["peak_memory_mb"] > 1


def test_metrics_arrive_in_order_though_sent_in_batches(project: Path) -> None:
    def work(step: Step) -> None:
        for at in range(FLUSH_EVERY + 7):
            step.log_metrics({"loss": float(at)}, at)
        write_outputs(step)

    run_step("ingest", work)
    history = Store.open(project).client.get_metric_history(runs(project)["ingest"].info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(at, float(at)) for at in range(FLUSH_EVERY + 7)]


def test_mistake_is_one_message_and_exit_code_2(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def work(step: Step) -> None:
        raise DataError("items.csv: empty. Add items.")

    with pytest.raises(SystemExit) as ended:
        main("ingest", work)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: items.csv: empty. Add items.\n"


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("parquet: No space left on device (os error 28)")],
)
def test_full_disk_is_one_message_too(project: Path, capsys: pytest.CaptureFixture[str], error: Exception) -> None:
    def work(step: Step) -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        main("ingest", work)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: step ingest: {error}. Make room, and run the step again.\n"


@pytest.mark.parametrize("error", [DataError("wrong"), RuntimeError("a defect")])
def test_failed_step_is_marked_failed_keeps_its_metrics_and_leaves_no_cost(project: Path, error: Exception) -> None:
    def work(step: Step) -> None:
        step.log_metrics({"loss": 3.0}, 1)
        raise error

    with pytest.raises(type(error)):
        run_step("ingest", work)
    found = runs(project)
    assert {run.info.status for run in found.values()} == {"FAILED"}
    assert found["ingest"].data.metrics["loss"] == 3.0
    assert not (paths.COST / "ingest.json").exists()


def test_interrupted_step_is_marked_killed(project: Path) -> None:
    def work(step: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        main("ingest", work)
    assert ended.value.code == 130
    assert runs(project)["ingest"].info.status == "KILLED"


def test_step_that_does_not_write_its_output_fails(project: Path) -> None:
    with pytest.raises(ArtifactError, match="interactions.parquet"):
        run_step("ingest", lambda step: None)
    assert runs(project)["ingest"].info.status == "FAILED"


def test_missing_input_stops_before_the_work(project: Path) -> None:
    with pytest.raises(ArtifactError, match="data/interim/interactions.parquet"):
        run_step("cf", unreachable)


def test_step_that_dvc_yaml_does_not_know_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match="no stage 'dream'"):
        run_step("dream", unreachable)


@pytest.mark.parametrize(
    "address", ["sqlite:////nowhere/at/all/mlflow.db", "sqlite:///{project}/dvc.yaml", "gopher://x"]
)
def test_store_that_cannot_be_opened_stops_before_the_work(
    project: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.format(project=project))
    with pytest.raises(ArtifactError, match="cannot be opened"):
        run_step("ingest", unreachable)


def test_store_that_fails_for_a_while_loses_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_log_batch, calls = MlflowClient.log_batch, []

    def log_batch(self: MlflowClient, run_id: str, *args: Any, metrics: Any = (), **more: Any) -> None:
        calls.append(len(metrics))
        if len(metrics) == FLUSH_EVERY and sum(count == FLUSH_EVERY for count in calls) == 1:
            raise MlflowException("database is locked")
        true_log_batch(self, run_id, *args, metrics=metrics, **more)

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)

    def work(step: Step) -> None:
        for at in range(FLUSH_EVERY):
            step.log_metrics({"loss": 1.0}, at)
        write_outputs(step)

    run_step("ingest", work)
    found = runs(project)["ingest"]
    assert len(Store.open(project).client.get_metric_history(found.info.run_id, "loss")) == FLUSH_EVERY


def test_store_that_is_down_is_not_asked_at_every_step(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def log_batch(*_: Any, **more: Any) -> None:
        asked.append(more)
        raise MlflowException("down")

    def work(step: Step) -> None:
        monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
        for at in range(3 * FLUSH_EVERY):
            step.log_metrics({"loss": 1.0}, at)
        raise DataError("enough")

    with pytest.raises(DataError):
        run_step("ingest", work)
    assert len(asked) == 4, "three batches, and once more at the end"


def test_store_that_fails_at_the_end_fails_the_step(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(step: Step) -> None:
        write_outputs(step)
        monkeypatch.setattr(MlflowClient, "log_batch", lambda *args, **more: raise_("disk full"))

    with pytest.raises(ArtifactError, match="disk full"):
        run_step("ingest", work)
    assert not (paths.COST / "ingest.json").exists()


def test_blas_is_held_to_one_thread_before_numpy_is_imported() -> None:
    from tests.fake_project import run

    code = "import sys, tasks.step, os; print(os.environ['OPENBLAS_NUM_THREADS'], 'numpy' in sys.modules)"
    assert run(Path.cwd(), "-c", code, OPENBLAS_NUM_THREADS="8").stdout == "1 False\n"


def test_python_without_the_packages_is_told_so() -> None:
    from tests.fake_project import ROOT, run

    done = run(ROOT, "-S", "-c", "import tasks")
    assert done.returncode == 1
    assert "source .venv/bin/activate" in done.stderr


def unreachable(step: Step) -> None:
    pytest.fail("the work began")


def raise_(message: str) -> None:
    raise MlflowException(message)
