"""Step `ingest` on a user's folder and on the built-in data."""

from pathlib import Path

import pytest
from small_logs import FakeStep, with_params, write_logs

from ilm.data import schema
from ilm.data.logs.files import find
from ilm.data.raw import Source
from ilm.errors import ConfigError, DataError
from ilm.files import digest
from ilm.params import DataParams, Params
from tasks import ingest, paths
from tests.log_drops import drop, event

OUTPUTS = (paths.INTERACTIONS, paths.ITEMS, paths.QUARANTINE)
NO_LOGS = dict.fromkeys(["kept_aside", "log_files", "log_files_read", "log_dates_rewritten", "late"], 0)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_logs(tmp_path / "data/raw")
    (tmp_path / "data/logs").mkdir(exist_ok=True)
    return tmp_path


def test_a_folder_of_logs_becomes_three_tables(project: Path) -> None:
    step = FakeStep()

    ingest.run(step)

    interactions = schema.read_table(paths.INTERACTIONS, schema.INTERACTIONS)
    items = schema.read_table(paths.ITEMS, schema.ITEMS, with_text=True)
    assert len(interactions) == 96 and items.columns == ["item_id", "title", "genres"]
    assert schema.read_table(paths.QUARANTINE, schema.QUARANTINE).is_empty()
    assert step.metrics == {"interactions": 96, "items": 10, "users": 12, "quarantined": 0} | NO_LOGS


def test_all_interactions_may_come_by_log_files(project: Path) -> None:
    ingest.run(FakeStep())
    columns = ["user_id", "item_id", "timestamp"]
    by_source = schema.read_table(paths.INTERACTIONS, schema.INTERACTIONS).sort(columns)
    (project / "data/raw/interactions.csv").rename(project / "data/logs/all.csv")
    step = FakeStep()

    ingest.run(step)

    assert schema.read_table(paths.INTERACTIONS, schema.INTERACTIONS).sort(columns).equals(by_source)
    assert schema.read_table(paths.SOURCE_USERS, schema.SOURCE_USERS).is_empty()
    assert (step.metrics["interactions"], step.metrics["users"], step.metrics["log_files"]) == (96, 12, 1)


def test_without_any_interactions_it_is_said_where_they_belong(project: Path) -> None:
    (project / "data/raw/interactions.csv").unlink()

    with pytest.raises(DataError, match=r"data/raw: no interactions.parquet, interactions.csv or interactions.jsonl"):
        ingest.run(FakeStep())


def test_equal_logs_in_another_order_give_equal_bytes(project: Path) -> None:
    ingest.run(FakeStep())
    before = [path.read_bytes() for path in OUTPUTS]
    log = project / "data/raw/interactions.csv"
    header, *lines = log.read_text().splitlines()
    log.write_text("\n".join([header, *reversed(lines)]) + "\n")

    ingest.run(FakeStep())

    assert [path.read_bytes() for path in OUTPUTS] == before


def test_quarantined_rows_are_counted_by_rule_on_the_screen(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (project / "data/raw/interactions.csv").open("a") as log:
        log.write(",i1,1600000000\n")

    ingest.run(FakeStep())

    assert "quarantine: 1 rows of interactions, user_id_missing" in capsys.readouterr().out


def test_log_files_join_the_source_and_what_must_wait_waits(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drop(project / "data/logs", "a.csv", [event("u00", "i1"), event("u00", "new"), event("")])
    (project / "data/logs/b.csv.part").write_text("half")
    step = FakeStep(with_params(data={"max_quarantine_fraction": 0.5}))

    ingest.run(step)

    assert len(schema.read_table(paths.INTERACTIONS, schema.INTERACTIONS)) == 97
    assert schema.read_table(paths.KEPT_ASIDE, schema.INTERACTIONS)["item_id"].to_list() == ["new"]
    quarantine = schema.read_table(paths.QUARANTINE, schema.QUARANTINE)
    assert quarantine.select("table", "source", "row", "rule").rows() == [("logs", "a.csv", 3, "user_id_missing")]
    assert schema.read_table(paths.SOURCE_USERS, schema.SOURCE_USERS).height == 12
    assert {name: step.metrics[name] for name in NO_LOGS} == {
        "kept_aside": 1, "log_files": 1, "log_files_read": 1, "log_dates_rewritten": 1, "late": 0,
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert "log file b.csv.part is left for the next run" in printed
    assert "log files: 1 new with 3 rows, 1 in all" in printed


def test_a_waiting_event_enters_when_a_file_of_items_names_its_item(project: Path) -> None:
    drop(project / "data/logs", "a.csv", [event("u00", "new")])
    ingest.run(FakeStep())
    drop(project / "data/logs", "items-may.jsonl", [{"item_id": "new", "title": "New", "year": 2024}])

    ingest.run(FakeStep())

    assert len(schema.read_table(paths.INTERACTIONS, schema.INTERACTIONS)) == 97
    assert schema.read_table(paths.KEPT_ASIDE, schema.INTERACTIONS).is_empty()
    items = schema.read_table(paths.ITEMS, schema.ITEMS, with_text=True)
    assert items.filter(item_id="new").rows() == [("new", "New", None, "2024")]


def test_a_file_of_items_that_cannot_be_read_is_set_aside(project: Path) -> None:
    (project / "data/logs/items.csv").write_text("item_id\ni1\n")

    ingest.run(FakeStep())

    rows = schema.read_table(paths.QUARANTINE, schema.QUARANTINE).select("table", "source", "rule").rows()
    assert rows == [("logs", "items.csv", "columns_missing")]


def test_a_second_run_gives_the_same_bytes_and_reads_no_log_file_again(project: Path) -> None:
    drop(project / "data/logs", "a.csv", [event("u00", "i1")])
    ingest.run(FakeStep())
    before = [digest(path) for path in (*OUTPUTS, paths.KEPT_ASIDE, paths.LOG_STORE)]
    step = FakeStep()

    ingest.run(step)

    assert [digest(path) for path in (*OUTPUTS, paths.KEPT_ASIDE, paths.LOG_STORE)] == before
    assert step.metrics["log_files_read"] == 0


def test_a_file_that_arrives_meanwhile_is_read_in_the_same_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_load = ingest.load

    def load_and_drop(params: DataParams, **given: bool) -> Source:
        if not (project / "data/logs/late.csv").exists():
            drop(project / "data/logs", "late.csv", [event("u00", "i1")])
        return true_load(params, **given)

    monkeypatch.setattr(ingest, "load", load_and_drop)

    ingest.run(FakeStep())

    assert len(schema.read_table(paths.INTERACTIONS, schema.INTERACTIONS)) == 97


def test_a_file_that_is_written_until_the_end_of_the_watch_is_read_in_the_same_run(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = drop(project / "data/logs", "a.csv", [event("u00", "i1")])
    watched: list[float] = []

    def watch(seconds: float) -> None:
        if not watched:
            with path.open("a") as file:
                file.write("u01,i1,2024-05-01T11:00:00\n")
        watched.append(seconds)

    monkeypatch.setattr(ingest, "find", lambda folder, seconds: find(folder, seconds, wait=watch))

    ingest.run(FakeStep(with_params(data={"settle_seconds": 60})))

    assert len(watched) == 2
    assert len(schema.read_table(paths.INTERACTIONS, schema.INTERACTIONS)) == 98


def test_files_that_never_hold_still_are_said_to_be_left(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = drop(project / "data/logs", "a.csv", [event("u00", "i1")])

    def watch(seconds: float) -> None:
        with path.open("a") as file:
            file.write("u01,i1,2024-05-01T11:00:00\n")

    monkeypatch.setattr(ingest, "find", lambda folder, seconds: find(folder, seconds, wait=watch))

    ingest.run(FakeStep(with_params(data={"settle_seconds": 60})))

    printed = capsys.readouterr().out
    assert printed.count("log file a.csv is left for the next run: it is still being written") == ingest.ROUNDS
    assert "`dvc repro --force --single-item ingest`" in printed


def test_the_moment_that_counts_as_now_can_be_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(project / "data/logs", "a.csv", [event("u00", "i1", f"{year}-01-01") for year in (2021, 2022)])
    monkeypatch.setenv("ILM_NOW", "2021-06-01")

    ingest.run(FakeStep(with_params(data={"settle_seconds": 0})))

    assert schema.read_table(paths.QUARANTINE, schema.QUARANTINE)["rule"].to_list() == ["timestamp_in_future"]
    monkeypatch.setenv("ILM_NOW", "tomorrow")
    with pytest.raises(ConfigError, match="ILM_NOW is 'tomorrow'"):
        ingest.run(FakeStep())


def test_a_logs_folder_that_is_not_there_stops_the_step(project: Path) -> None:
    (project / "data/logs").rmdir()

    with pytest.raises(DataError, match="data/logs: no such folder"):
        ingest.run(FakeStep())


def test_a_mistake_leaves_no_table_behind(project: Path) -> None:
    (project / "data/raw/items.csv").write_text("item_id\ni1\n")

    with pytest.raises(DataError, match="no column title"):
        ingest.run(FakeStep())
    assert not any(path.exists() for path in OUTPUTS)


def test_the_built_in_data_lose_only_what_has_no_title(capsys: pytest.CaptureFixture[str]) -> None:
    step = FakeStep(Params())

    ingest.run(step)

    assert step.metrics == {"interactions": 99_997, "items": 9_061, "users": 671, "quarantined": 12} | NO_LOGS
    assert "research only" in capsys.readouterr().out
