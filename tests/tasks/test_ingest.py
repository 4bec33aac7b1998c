"""Step `ingest` on a user's folder and on the built-in data."""

from pathlib import Path

import pytest
from small_logs import FakeStep, write_logs

from ilm.data import schema
from ilm.errors import DataError
from ilm.params import Params
from tasks import ingest, paths

OUTPUTS = (paths.INTERACTIONS, paths.ITEMS, paths.QUARANTINE)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_logs(tmp_path / "data/raw")
    return tmp_path


def test_a_folder_of_logs_becomes_three_tables(project: Path) -> None:
    step = FakeStep()

    ingest.run(step)

    interactions = schema.read_table(paths.INTERACTIONS, schema.INTERACTIONS)
    items = schema.read_table(paths.ITEMS, schema.ITEMS, with_text=True)
    assert len(interactions) == 96 and items.columns == ["item_id", "title", "genres"]
    assert schema.read_table(paths.QUARANTINE, schema.QUARANTINE).is_empty()
    assert step.metrics == {"interactions": 96, "items": 10, "users": 12, "quarantined": 0}


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


def test_a_mistake_leaves_no_table_behind(project: Path) -> None:
    (project / "data/raw/items.csv").write_text("item_id\ni1\n")

    with pytest.raises(DataError, match="no column title"):
        ingest.run(FakeStep())
    assert not any(path.exists() for path in OUTPUTS)


def test_the_built_in_data_lose_only_what_has_no_title(capsys: pytest.CaptureFixture[str]) -> None:
    step = FakeStep(Params())

    ingest.run(step)

    assert step.metrics == {"interactions": 99_997, "items": 9_061, "users": 671, "quarantined": 12}
    assert "research only" in capsys.readouterr().out
