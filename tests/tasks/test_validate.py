"""Step `validate`: passes, or stops the pipeline with a page and without a result."""

import json
from pathlib import Path

import polars as pl
import pytest
from small_logs import PARAMS, FakeStep, with_params, write_logs

from ilm.data import schema
from ilm.data.logs.batch import read_accepted
from ilm.errors import ArtifactError, DataError
from ilm.params import Params
from tasks import ingest, paths, validate
from tests.log_drops import drop, event

LOGS = Path("data/logs")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_logs(tmp_path / "data/raw")
    ingest.run(FakeStep())


def test_good_data_give_a_result_and_a_page_that_are_the_same_every_time() -> None:
    step = FakeStep()
    validate.run(step)
    first = paths.VALIDATION.read_bytes(), paths.VALIDATION_PAGE.read_bytes()

    validate.run(FakeStep())

    assert json.loads(first[0])["passed"] is True
    assert "Data contract" in first[1].decode()
    assert (paths.VALIDATION.read_bytes(), paths.VALIDATION_PAGE.read_bytes()) == first
    assert step.metrics["expectations_failed"] == 0 and step.metrics["expectations"] > 10


def test_a_broken_contract_writes_the_page_and_removes_an_earlier_result() -> None:
    validate.run(FakeStep())

    with pytest.raises(DataError, match="at least 1,000 different users"):
        validate.run(FakeStep(with_params(validate={"min_users": 1000})))

    assert not paths.VALIDATION.exists()
    assert "FAILED" in paths.VALIDATION_PAGE.read_text()


def test_a_damaged_input_stops_before_any_result() -> None:
    validate.run(FakeStep())
    paths.ITEMS.write_bytes(paths.ITEMS.read_bytes()[:-20])

    with pytest.raises(ArtifactError, match="damaged"):
        validate.run(FakeStep())
    assert not paths.VALIDATION.exists()


def test_a_batch_that_is_let_through_is_the_measure_of_the_next_one() -> None:
    limits = with_params(validate={"min_batch_rows": 1, "warnings": ["batch.known_users"]})
    drop(LOGS, "a.csv", [event("u00", "i1", event_type="view"), event("u01", "i2", event_type="view")])
    run(limits)
    assert read_accepted(paths.ACCEPTED).table_rows == 98
    drop(LOGS, "b.csv", [event("u03", "i1", event_type="buy")])

    with pytest.raises(
        DataError, match=r"new log files: expected event types at a distance of at most 0\.3 .*; found 1"
    ):
        run(limits)
    assert len(read_accepted(paths.ACCEPTED).batches) == 1, "what was refused is no measure"
    assert not paths.VALIDATION.exists()

    (LOGS / "b.csv").unlink()
    run(limits)
    drop(LOGS, "c.csv", [event("u03", "i1", event_type="view")])
    run(limits)
    assert [batch.rows for batch in read_accepted(paths.ACCEPTED).batches] == [2, 1]


def test_a_warning_is_printed_and_the_result_stays_the_same_when_judged_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (LOGS / "a.csv").touch()
    step = run(PARAMS)
    printed = capsys.readouterr().out
    assert "validate  warning: new log files: expected no file" in printed and "a.csv" in printed
    assert (step.metrics["expectations_failed"], step.metrics["expectations_warned"]) == (0, 1)
    before = [path.read_bytes() for path in (paths.VALIDATION, paths.VALIDATION_PAGE, paths.ACCEPTED)]

    validate.run(FakeStep())

    assert [path.read_bytes() for path in (paths.VALIDATION, paths.VALIDATION_PAGE, paths.ACCEPTED)] == before


def test_a_file_of_no_known_form_is_warned_of_until_it_is_taken_away(capsys: pytest.CaptureFixture[str]) -> None:
    drop(LOGS, "a.csv", [event("u00", "i1")])
    (LOGS / "notes.txt").write_text("hello")
    for _ in range(2):
        assert run(PARAMS).metrics["expectations_warned"] == 1
        assert "(set aside: notes.txt); found 1" in capsys.readouterr().out
    (LOGS / "notes.txt").unlink()

    assert run(PARAMS).metrics["expectations_warned"] == 0


def test_log_files_that_vanish_and_take_much_along_stop_the_run() -> None:
    drop(LOGS, "a.csv", [event("u00", "i1", f"2021-01-01T00:{minute:02}:00") for minute in range(20)])
    run(PARAMS)
    (LOGS / "a.csv").unlink()

    with pytest.raises(DataError, match=r"at least 90% of the rows of the last accepted table .*; found 96"):
        run(PARAMS)


def run(params: Params) -> FakeStep:
    """Both steps; gives the second."""
    ingest.run(FakeStep(params))
    step = FakeStep(params)
    validate.run(step)
    return step


def test_an_interaction_with_an_unknown_item_stops_here() -> None:
    items = schema.read_table(paths.ITEMS, schema.ITEMS, with_text=True)
    schema.write_table(items.filter(pl.col("item_id") != "i0"), paths.ITEMS)

    with pytest.raises(DataError, match="the items table does not know .* item_id i0"):
        validate.run(FakeStep())
