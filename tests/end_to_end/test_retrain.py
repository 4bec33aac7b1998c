"""Fresh logs, a retrain that is killed in the middle of a training, and the one after it: the true steps and gate."""

import json
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.end_to_end.clone import change_setting, clone_working_tree, ilm
from tests.end_to_end.test_killed_steps import first_step_of_last_run
from tests.fake_project import git, run, start, wait_until
from tests.tiny import save_language_model, save_text_encoder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, prefect_home: str) -> Path:
    """A project with a champion that has seen the log up to a moment, and a week of events after it in data/logs."""
    folder = tmp_path_factory.mktemp("retrain")
    names = str(save_language_model(folder / "models/llm")), str(save_text_encoder(folder / "models/bert"))
    project = clone_working_tree(folder / "project", *names)
    change_setting(project, "split", "strategy", "global_time")
    change_setting(project, "retrain", "min_new_interactions", 100)
    git(project, "commit", "--quiet", "--all", "--message", "settings of the test")
    done = ilm(project, "train", "--bootstrap")
    assert done.returncode == 0, done.stdout + done.stderr
    drop_logs(project)
    return project


def drop_logs(project: Path) -> None:
    """What the users of the catalogue might do in the week after the last interaction."""
    import polars as pl

    log = pl.read_parquet(project / "data/interim/interactions.parquet")
    last = log["timestamp"].max()
    assert isinstance(last, datetime)
    recent = log.sort("timestamp").tail(20_000)
    users, items = recent["user_id"].unique(maintain_order=True), recent["item_id"].unique(maintain_order=True)
    rows = [
        f"{user},{items[(7 * number + 13 * event) % len(items)]},{(last + timedelta(hours=number + event)).isoformat()}"
        for number, user in enumerate(users[:100])
        for event in range(1, 9)
    ]
    (project / "data/logs/week.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")


@pytest.mark.slow
def test_killed_retrain_is_continued_and_judged_with_the_working_copy_as_it_was(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = git(home, "status", "--porcelain"), git(home, "rev-parse", "HEAD"), (home / "dvc.lock").read_bytes()
    planned = ilm(home, "retrain", "--dry-run").stdout
    assert "fresh     week.csv  800 rows, 800 of them good" in planned
    assert "run       ingest" in planned

    monkeypatch.setenv("PYTHONPATH", str(home))
    killed = start(home, "-m", "flows.cli", "retrain")
    checkpoints = home / ".ilm/checkpoints/finetune"
    wait_until(lambda: killed.poll() is not None or any(checkpoints.glob("*/progress.json")), seconds=600)
    killed.kill()
    killed.communicate()

    done = ilm(home, "retrain")
    assert done.returncode == 0, done.stderr
    assert ", which was cut short" in done.stdout
    assert "pretrain  started" not in done.stdout
    assert first_step_of_last_run(home, "finetune") > 0, "it went on from the checkpoint"
    record = json.loads(max((home / ".ilm/runs").glob("*/run.json")).read_text())
    assert record["outcome"] in ("promote", "refuse", "underpowered"), record
    assert record["version"] == "2"
    assert record["new_interactions"] > 100
    assert (
        git(home, "status", "--porcelain"),
        git(home, "rev-parse", "HEAD"),
        (home / "dvc.lock").read_bytes(),
    ) == before

    again = ilm(home, "retrain")
    assert "too_little" in again.stdout
    git(home, "checkout", "refs/ilm/latest", "--", "dvc.lock")
    assert run(home, "-m", "dvc", "checkout").returncode == 0
    changed = run(home, "-m", "dvc", "status").stdout  # the result, but for the generation that the run went on from
    assert set(re.findall(r"modified: +(\S+)", changed)) == {"data/previous"}, changed
