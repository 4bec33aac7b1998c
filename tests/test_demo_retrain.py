"""The demonstration's preparation, on the built-in log."""

from pathlib import Path

import polars as pl
import pytest

from benchmarks.demo_retrain import prepare
from ilm.errors import IlmError
from tests.fake_project import ROOT


def test_every_interaction_is_of_an_item_that_has_come_before_or_comes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the data contract stops the first training, or a drop waits for ever."""
    monkeypatch.chdir(ROOT)

    drops = prepare(tmp_path / "demo", "2016-05", ["finetune.steps=5"])

    raw = tmp_path / "demo/data/raw"
    kept = pl.read_csv(raw / "interactions.csv", infer_schema=False)
    known = set(pl.read_csv(raw / "items.csv", infer_schema=False)["item_id"])
    assert set(kept["item_id"]) == known
    assert [drop.month for drop in drops] == ["2016-05", "2016-06", "2016-07", "2016-08", "2016-09", "2016-10"]
    for drop in drops:
        assert not known & set(drop.items["item_id"])
        known |= set(drop.items["item_id"])
        assert set(drop.interactions["item_id"]) <= known
        assert drop.interactions["timestamp"].min() > kept["timestamp"].max()


def test_a_month_outside_the_log_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(IlmError, match="--since 1900-01: the log has the months 1995-01 to 2016-10"):
        prepare(tmp_path / "demo", "1900-01", [])
