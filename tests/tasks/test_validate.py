"""Step `validate`: passes, or stops the pipeline with a page and without a result."""

import json
from pathlib import Path

import polars as pl
import pytest
from small_logs import FakeStep, with_params, write_logs

from ilm.data import schema
from ilm.errors import ArtifactError, DataError
from tasks import ingest, paths, validate


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


def test_an_interaction_with_an_unknown_item_stops_here() -> None:
    items = schema.read_table(paths.ITEMS, schema.ITEMS, with_text=True)
    schema.write_table(items.filter(pl.col("item_id") != "i0"), paths.ITEMS)

    with pytest.raises(DataError, match="the items table does not know .* item_id i0"):
        validate.run(FakeStep())
