"""From the built-in data to a champion that recommends: the true pipeline in a clone of the working tree."""

import json
import math
import re
import shutil
import sys
from pathlib import Path

import pytest

from ilm.eval.metrics import METRICS
from ilm.files import digest, read_json
from tests.end_to_end.clone import change_setting, ilm
from tests.fake_project import run

HISTORY = ("Heat (1995)", "Toy Story (1995)")

PYFUNC = """
import json, sys
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model("models:/ilm@champion")
requests = pd.DataFrame({"user_id": [sys.argv[1], None], "history": [None, sys.argv[2:]], "k": [10, 10]})
print(json.dumps(model.predict(requests).to_dict(orient="records")))
"""


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may change; its MLflow store still names the original's folders."""
    return Path(shutil.copytree(trained, tmp_path / "project", symlinks=True))


def test_training_ends_with_table_report_and_first_champion(trained: Path) -> None:
    printed = (trained / "printed.txt").read_text()
    for system in ("popularity", "als", "ilm"):
        assert re.search(rf"│ {system} +│ 0\.\d{{4}} │ 0\.\d{{4}} │ 0\.\d{{4}} │ +0\.\d{{4}} │", printed)
    assert "champion  version 1\n" in printed
    page = (trained / "reports/report.html").read_text(encoding="utf-8")
    assert page.count('<svg class="items"') == 2
    assert page.count("<h3>User ") == 5


def test_metrics_have_the_agreed_schema(trained: Path) -> None:
    metrics = read_json(trained / "reports/metrics.json")
    assert metrics["data"].keys() >= {"users", "items", "interactions", "split"}
    assert metrics["systems"].keys() >= {"popularity", "als", "ilm"}
    for tasks in metrics["systems"].values():
        assert tasks.keys() >= {"sequential", "straightforward"}
        for settings in tasks.values():
            assert settings.keys() == {"filtered", "unfiltered"}
            for values in settings.values():
                assert values.keys() == set(METRICS)
                assert all(math.isfinite(value) and 0 <= value <= 1 for value in values.values())
    steps = {"ingest", "validate", "split", "cf", "pairs", "pretrain", "finetune", "evaluate"}
    assert metrics["cost"].keys() == steps
    assert all(cost.keys() == {"seconds", "peak_memory_mb"} for cost in metrics["cost"].values())


def test_language_model_is_untouched_and_referenced_only(trained: Path) -> None:
    card = read_json(trained / "data/models/ilm/config.json")
    folder = trained.parent / "models/llm"
    if folder.exists():
        assert card["language_model_sha256"] == digest(folder / "model.safetensors")
    weights = list((trained / "mlartifacts").rglob("*.safetensors"))
    assert {file.name for file in weights} == {"cf.safetensors", "model.safetensors"}
    assert card["language_model_sha256"] not in {digest(file) for file in weights}


def test_dvc_repro_after_the_flow_does_no_work(trained: Path) -> None:
    lock = (trained / "dvc.lock").read_bytes()
    assert "Data and pipelines are up to date" in run(trained, "-m", "dvc", "repro").stdout
    assert (trained / "dvc.lock").read_bytes() == lock


def test_training_again_does_no_work(trained: Path) -> None:
    lock = (trained / "dvc.lock").read_bytes()
    done = ilm(trained, "train")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("  up to date\n") == 9
    assert "champion  version 1\n" in done.stdout
    assert (trained / "dvc.lock").read_bytes() == lock


def test_changed_setting_reruns_only_its_step(copy: Path) -> None:
    change_setting(copy, "evaluate", "bootstrap_samples", 101)
    done = run(copy, "-m", "dvc", "repro")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"Running stage '(\w+)'", done.stdout) == ["evaluate", "report"]


def test_pyfunc_in_a_fresh_process_gives_what_the_command_line_gives(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    user, _ = user_and_seen_items(trained)
    store = f"sqlite:///{trained}/mlflow.db"
    done = run(trained, "-c", PYFUNC, user, *HISTORY, MLFLOW_TRACKING_URI=store, PYTHONWARNINGS="ignore")
    answers = json.loads(done.stdout)
    for row, words in enumerate((("--user", user), ("--history", *HISTORY))):
        code, out, _ = command_line(trained, monkeypatch, capsys, "recommend", *words, "-k", "10", "--json")
        said = json.loads(out)
        assert (code, len(said)) == (0, 10)
        found = [{key: item[key] for key in said[0]} for item in answers if item["row"] == row]
        assert [item.pop("score") for item in said] == pytest.approx([item.pop("score") for item in found], abs=1e-4)
        assert said == found


def test_recommendations_are_items_that_the_user_has_not_seen(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    user, seen = user_and_seen_items(trained)
    _, out, _ = command_line(trained, monkeypatch, capsys, "recommend", "--user", user, "--json")
    assert seen
    assert not {item["item_id"] for item in json.loads(out)} & seen


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("recommend", "--user", "nobody"), "user 'nobody' is not among the"),
        (("recommend", "--history", "Heet (1995)"), "Did you mean 'Heat (1995)'"),
        (("promote", "99"), "no version 99"),
    ],
)
def test_mistake_gets_one_message_and_exit_code_2(
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    message: str,
) -> None:
    code, _, err = command_line(trained, monkeypatch, capsys, *words)
    assert code == 2
    assert err.startswith("error: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_steps_and_registration_share_one_parent_run(trained: Path) -> None:
    from flows.stages import STEPS
    from tasks.tracking import Store

    store = Store.open(trained)
    found = {found.data.tags["ilm.step"]: found for found in store.client.search_runs([store.experiment_id])}
    assert found.keys() == {"pipeline", "register", *STEPS}
    parents = {found[name].data.tags["mlflow.parentRunId"] for name in ("register", *STEPS)}
    assert parents == {found["pipeline"].info.run_id}
    assert {each.info.status for each in found.values()} == {"FINISHED"}
    assert "/" not in found["pipeline"].data.tags["ilm.execution"], "the id of the Prefect flow run, not of a process"


@pytest.mark.parametrize("start", [("-m", "flows.cli", "train"), ("-m", "tasks.cf")])
def test_all_wrong_settings_are_reported_at_once(copy: Path, start: tuple[str, ...]) -> None:
    change_setting(copy, "cf", "faktors", 8)
    change_setting(copy, "evaluate", "batch_size", "many")
    done = run(copy, *start)
    assert done.returncode == 2
    for words in ("params.yaml: 2 settings are wrong", "cf.faktors", "evaluate.batch_size"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr


def command_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[object, str, str]:
    """Exit code, output and errors of `ilm`, in this process: torch is imported once for all tests."""
    from flows import cli

    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "argv", ["ilm", *words])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    return ended.value.code, printed.out, printed.err


def user_and_seen_items(project: Path) -> tuple[str, set[str]]:
    """The first user's id, and the ids of all items in that user's log."""
    import pyarrow.parquet as pq

    features = project / "data/features"
    user = pq.read_table(features / "user_ids.parquet").to_pylist()[0]
    catalogue = {row["item_index"]: row["item_id"] for row in pq.read_table(features / "catalogue.parquet").to_pylist()}
    sequences = pq.read_table(features / "sequences.parquet").to_pylist()
    return user["user_id"], {
        catalogue[row["item_index"]] for row in sequences if row["user_index"] == user["user_index"]
    }
