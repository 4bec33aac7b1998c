"""One retrain from end to end, on stages that do next to nothing; killed, and without room: test_retrain_faults."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import flows.challenge
import ilm.gate.judge
from flows import registry, stages
from flows import retrain as retraining
from flows.lease import FILE, LeaseLost, acquire
from flows.retrain import Retrained, retrain
from flows.retrain_plan import Plan, plan, print_plan
from ilm.errors import IlmError
from ilm.gate.decision import Decision
from tests import fake_project
from tests.conftest import put_store
from tests.fake_project import git
from tests.fake_retrain import make_retrain_project

KEPT = (".ilm", ".git", "mlflow.db", ".mlflow.db.lock", "mlartifacts", ".dvc")


@pytest.fixture(scope="session")
def retrained(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """The project after one retrain that the gate refused, with a working copy in the middle of some work."""
    home = make_retrain_project(tmp_path_factory.mktemp("retrained") / "home")
    put_store(empty_store, home)
    (home / "params.yaml").write_text((home / "params.yaml").read_text().replace("factors: 2", "factors: 9"))
    (home / "staged.txt").write_text("staged")
    git(home, "add", "staged.txt")
    (home / "untracked.txt").write_text("untracked")
    before = state(home)
    with pytest.MonkeyPatch.context() as monkeypatch:
        done = run_retrain(home, monkeypatch, "refuse")
    assert done.outcome == "refuse"
    (home / ".ilm/before.json").write_text(json.dumps(before))
    return home


@pytest.fixture
def home(retrained: Path, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy with a clean working copy, whose MLflow knows of nothing."""
    folder = tmp_path / "home"
    shutil.copytree(retrained, folder, symlinks=True)
    put_store(empty_store, folder)
    git(folder, "reset", "--quiet", "--hard")
    monkeypatch.chdir(folder)
    return folder


def state(home: Path) -> list[str]:
    """All that a user may have under way: branch, index, files with their times."""
    files = [path for path in sorted(home.rglob("*")) if path.relative_to(home).parts[0] not in KEPT]
    return [
        git(home, "rev-parse", "HEAD"),
        git(home, "symbolic-ref", "HEAD"),
        git(home, "status", "--porcelain"),
        git(home, "diff", "--cached"),
        git(home, "stash", "list"),
        *(f"{path.relative_to(home)} {path.stat().st_mtime_ns}" for path in files),
    ]


def run_retrain(home: Path, monkeypatch: pytest.MonkeyPatch, gate_says: str | None) -> Retrained:
    """In this process; the gate's word is given, or is its own."""

    def judge(*bundles: Path, out: Path, **about: object) -> Decision:
        out.mkdir(parents=True)
        (out / "decision.json").write_text("{}")
        assert gate_says in ("promote", "refuse", "underpowered", "error")
        return Decision(gate_says, ("The test said so.",))  # type: ignore[arg-type]

    for name in ("MLFLOW_TRACKING_URI", "ILM_EXECUTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(stages, "STEPS", fake_project.STEPS)
    if gate_says:
        monkeypatch.setattr(ilm.gate.judge, "judge", judge)
    return retrain(home)


def add_data(home: Path, rows: str = "d e\n") -> None:
    (home / "data/raw/log.txt").write_text((home / "data/raw/log.txt").read_text() + rows)


def test_working_copy_index_and_branch_are_as_they_were(retrained: Path) -> None:
    assert state(retrained) == json.loads((retrained / ".ilm/before.json").read_text())


def test_what_was_committed_is_what_was_run(retrained: Path) -> None:
    lock = git(retrained, "show", "refs/ilm/latest:dvc.lock")
    assert "factors: 2" in lock
    assert git(retrained, "diff", "--name-only", "HEAD", "refs/ilm/latest") == "dvc.lock"


def test_worktree_and_lease_are_gone_afterwards(retrained: Path) -> None:
    assert list((retrained / ".ilm/worktrees").iterdir()) == []
    assert git(retrained, "worktree", "list").count("\n") == 0
    assert not (retrained / FILE).exists()


def test_record_says_how_it_ended(retrained: Path) -> None:
    (folder,) = (retrained / ".ilm/runs").iterdir()
    record = json.loads((folder / "run.json").read_text())
    commit = git(retrained, "rev-parse", f"refs/ilm/runs/{folder.name}")
    assert record.pop("started") > 1.7e9
    assert record.pop("seconds") > 0
    assert record == {
        "run": folder.name, "outcome": "refuse", "reasons": ["The test said so."],
        "new_interactions": 3, "new_quarantined": 0, "drift": None, "commit": commit, "version": "1", "champion": None,
    }  # fmt: skip


def test_steps_and_version_are_in_the_projects_store_with_the_runs_commit(
    retrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.tracking import Store

    store = Store.open(retrained)
    runs = {run.data.tags["ilm.step"]: run for run in store.client.search_runs([store.experiment_id])}
    assert runs.keys() == {"pipeline", "register", *fake_project.STEPS}
    assert runs["pipeline"].data.tags["ilm.execution"] == next((retrained / ".ilm/runs").iterdir()).name
    (version,) = store.client.search_model_versions("name = 'ilm'")
    assert version.tags["git.commit"] == git(retrained, "rev-parse", "refs/ilm/latest")
    assert version.tags["git.dirty"] == "false"
    assert store.client.get_model_version_by_alias("ilm", "challenger").version == version.version
    recorded = store.client.list_artifacts(version.run_id, "gate")
    assert [entry.path for entry in recorded] == ["gate/decision.json"]


def test_too_little_fresh_data_ends_it_and_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run_retrain(home, monkeypatch, None)
    assert (done.outcome, done.new_interactions, done.version) == ("too_little", 0, None)
    assert done.reasons == ("0 interactions more than at the last run; retrain.min_new_interactions asks for 1.",)
    assert list((home / ".ilm/worktrees").iterdir()) == []


def test_fresh_data_of_the_working_copy_are_trained_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_data(home)
    done = run_retrain(home, monkeypatch, "underpowered")
    assert (done.outcome, done.new_interactions) == ("underpowered", 2)
    assert run_retrain(home, monkeypatch, "underpowered").outcome == "too_little", "they count once"


@pytest.mark.parametrize(("rows", "goes_on"), [("a b c", False), ("a b c d", True), ("a", True)])
def test_it_goes_on_if_rows_came_or_were_taken_away(
    home: Path, monkeypatch: pytest.MonkeyPatch, rows: str, goes_on: bool
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(stages, "STEPS", fake_project.STEPS)
    monkeypatch.setattr(registry, "register", lambda project: "7")
    monkeypatch.setattr(flows.challenge, "challenge", lambda *about: ("refuse", ("said so",), "6"))
    done = retrain(home, run_step=stand_in(ran, rows))
    assert done.outcome == ("refuse" if goes_on else "too_little")
    assert done.new_interactions == len(rows.split()) - 3
    assert ran == (["ingest", "cf", "evaluate"] if goes_on else ["ingest"])


def test_gate_that_breaks_promotes_nobody_and_the_next_run_asks_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    latest = git(home, "rev-parse", "refs/ilm/latest")
    add_data(home)
    done = run_retrain(home, monkeypatch, None)  # the true gate: the fake models are none
    assert (done.outcome, done.champion) == ("error", None)
    assert json.loads((home / ".ilm/runs" / done.run / "gate/decision.json").read_text())["outcome"] == "error"
    assert git(home, "rev-parse", "refs/ilm/latest") == latest
    capfd.readouterr()
    again = run_retrain(home, monkeypatch, "refuse")
    assert (again.outcome, again.version) == ("refuse", done.version)
    assert "started" not in capfd.readouterr().out, "no stage ran again"
    assert git(home, "rev-parse", "refs/ilm/latest") == again.commit


def test_step_that_fails_ends_it_with_a_record_and_nothing_else_left(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "data/raw/log.txt").unlink()
    with pytest.raises(IlmError, match="step 'ingest' failed"):
        run_retrain(home, monkeypatch, "promote")
    assert list((home / ".ilm/worktrees").iterdir()) == []
    assert not (home / FILE).exists()
    record = json.loads(max((home / ".ilm/runs").glob("*/run.json")).read_text())
    assert (record["outcome"], record["version"], record["new_interactions"]) == ("failed", None, None)
    assert "step 'ingest' failed" in record["reasons"][0]


@pytest.mark.parametrize("step", ["ingest", "cf", "evaluate"])
def test_lost_lease_stops_it_before_the_next_write(home: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    references, ran = git(home, "for-each-ref"), []
    run_step = stand_in(ran, "a b c d")

    def lose(name: str, project: Path) -> None:
        run_step(name, project)
        if name == step:
            (home / FILE).unlink()
            acquire(home, "another", 60)

    monkeypatch.setattr(stages, "STEPS", fake_project.STEPS)
    with pytest.raises(LeaseLost, match="was taken over by `another`"):
        retrain(home, run_step=lose)
    assert ran[-1] == step
    assert git(home, "for-each-ref") == references
    assert json.loads((home / FILE).read_text())["command"] == "another", "which is not ours to release"


def stand_in(ran: list[str], rows: str) -> Callable[[str, Path], None]:
    """Stages that only note that they ran, but for the table of `ingest`."""

    def run_step(name: str, project: Path) -> None:
        ran.append(name)
        if name == "ingest":
            (project / "data/interim").mkdir()
            pq.write_table(pa.table({"row": rows.split()}), project / "data/interim/interactions.parquet")

    return run_step


def reasons(found: Plan) -> dict[str, tuple[str, ...]]:
    return {stage.name: stage.reasons for stage in found.stages}


def test_plan_with_nothing_fresh_runs_nothing_and_leaves_no_trace(home: Path) -> None:
    before = state(home), sorted((home / ".ilm").rglob("*")), git(home, "for-each-ref")
    found = plan(home)
    assert reasons(found) == {"ingest": (), "cf": (), "evaluate": ()}
    assert all(stage.seconds is not None for stage in found.stages)
    assert (state(home), sorted((home / ".ilm").rglob("*")), git(home, "for-each-ref")) == before


def test_plan_says_what_would_run_and_why(home: Path) -> None:
    add_data(home)
    found = plan(home)
    assert reasons(found) == {"ingest": ("data/raw modified",), "cf": ("after ingest",), "evaluate": ("after cf",)}


def test_plan_counts_committed_settings_only_and_names_the_others(home: Path) -> None:
    settings = (home / "params.yaml").read_text()
    (home / "params.yaml").write_text(settings.replace("factors: 2", "factors: 3"))
    found = plan(home)
    assert reasons(found)["cf"] == ()
    assert found.changed == ["params.yaml"]
    git(home, "commit", "--quiet", "--all", "--message", "three factors")
    assert reasons(plan(home)) == {"ingest": (), "cf": ("cf modified",), "evaluate": ("after cf",)}


def test_plan_names_outputs_that_the_cache_has_lost(home: Path) -> None:
    shutil.rmtree(home / ".dvc/cache/files")
    assert "data/interim/items.parquet not in the cache" in reasons(plan(home))["ingest"]


def test_plan_before_any_run_is_to_run_all(tmp_path: Path) -> None:
    found = plan(make_retrain_project(tmp_path / "home"))
    assert all(stage.reasons for stage in found.stages)
    assert all(stage.seconds is None for stage in found.stages)


def test_printed_plan_says_who_retrains_now(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acquire(home, "ilm retrain", 60)
    print_plan(home)
    printed = capsys.readouterr().out
    assert "skip      cf" in printed
    assert "new       at most 0 interactions from log files; retrain.min_new_interactions is 1" in printed
    assert "now       a retrain is under way: `ilm retrain`, process" in printed


def test_fresh_log_files_are_counted_row_by_row(home: Path) -> None:
    logs = home / "data/logs"
    logs.mkdir()
    (home / "params.yaml").write_text((home / "params.yaml").read_text().replace("data:", "data:\n  settle_seconds: 0"))
    git(home, "commit", "--quiet", "--all", "--message", "do not wait")
    rows = "".join(f"u{n},i1,2024-01-0{n}T00:00:00\n" for n in range(1, 10)) * 3
    (logs / "new.csv").write_text(f"user_id,item_id,timestamp\n{rows},i1,2024-01-01T00:00:00\n")
    (file,) = plan(home).fresh
    assert (file.name, file.rows, file.good) == ("new.csv", 28, 27)


def test_too_many_bad_rows_are_foreseen(home: Path) -> None:
    (home / "data/logs").mkdir()
    (home / "params.yaml").write_text((home / "params.yaml").read_text().replace("data:", "data:\n  settle_seconds: 0"))
    git(home, "commit", "--quiet", "--all", "--message", "do not wait")
    (home / "data/logs/bad.csv").write_text("user_id,item_id,timestamp\n" + 6 * ",i1,2024-01-01T00:00:00\n")
    stops = plan(home).stops
    assert stops is not None
    assert "bad.csv" in stops


def test_runs_of_the_same_second_have_different_names() -> None:
    assert len({retraining.new_run() for _ in range(50)}) == 50


def test_command_line_says_a_held_lease_in_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows import cli

    acquire(home, "ilm retrain", 60)
    monkeypatch.setattr(sys, "argv", ["ilm", "retrain"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: a retrain is under way: `ilm retrain`, process ")
