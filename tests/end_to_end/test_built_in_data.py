"""From the built-in data to a champion that recommends: the true pipeline in a clone of the working tree."""

import json
import math
import re
import shutil
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
    assert (trained / "reports/report.html").stat().st_size > 10_000


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
    assert done.stdout.count("  up to date\n") == 8
    assert "champion  version 1\n" in done.stdout
    assert (trained / "dvc.lock").read_bytes() == lock


def test_changed_setting_reruns_only_its_step(copy: Path) -> None:
    change_setting(copy, "evaluate", "bootstrap_samples", 101)
    done = run(copy, "-m", "dvc", "repro")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"Running stage '(\w+)'", done.stdout) == ["evaluate"]


def test_pyfunc_in_a_fresh_process_gives_what_the_command_line_gives(trained: Path) -> None:
    import pyarrow.parquet as pq

    user = pq.read_table(trained / "data/features/user_ids.parquet")["user_id"][0].as_py()
    answers = json.loads(
        run(trained, "-W", "ignore", "-c", PYFUNC, user, *HISTORY, MLFLOW_TRACKING_URI=store(trained)).stdout
    )
    for row, words in enumerate((("--user", user), ("--history", *HISTORY))):
        said = json.loads(ilm(trained, "recommend", *words, "-k", "10", "--json").stdout)
        assert len(said) == 10
        assert said == [{key: item[key] for key in said[0]} for item in answers if item["row"] == row]


def test_recommendations_are_titles_that_the_user_has_not_seen(trained: Path) -> None:
    import pyarrow.parquet as pq

    features = trained / "data/features"
    user = pq.read_table(features / "user_ids.parquet").to_pylist()[0]
    catalogue = {row["item_index"]: row["item_id"] for row in pq.read_table(features / "catalogue.parquet").to_pylist()}
    sequences = pq.read_table(features / "sequences.parquet").to_pylist()
    seen = {catalogue[row["item_index"]] for row in sequences if row["user_index"] == user["user_index"]}
    said = json.loads(ilm(trained, "recommend", "--user", user["user_id"], "--json").stdout)
    assert seen
    assert not {item["item_id"] for item in said} & seen


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("recommend", "--user", "nobody"), "user 'nobody' is not among the"),
        (("recommend", "--history", "Heet (1995)"), "Did you mean 'Heat (1995)'"),
        (("promote", "99"), "no version 99"),
    ],
)
def test_mistake_gets_one_message_and_exit_code_2(trained: Path, words: tuple[str, ...], message: str) -> None:
    done = ilm(trained, *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("start", [("-m", "flows.cli", "train"), ("-m", "tasks.cf")])
def test_all_wrong_settings_are_reported_at_once(copy: Path, start: tuple[str, ...]) -> None:
    change_setting(copy, "cf", "faktors", 8)
    change_setting(copy, "evaluate", "batch_size", "many")
    done = run(copy, *start)
    assert done.returncode == 2
    for words in ("params.yaml: 2 settings are wrong", "cf.faktors", "evaluate.batch_size"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr


def store(project: Path) -> str:
    """What MLFLOW_TRACKING_URI must be outside the project's own commands."""
    return f"sqlite:///{project}/mlflow.db"
