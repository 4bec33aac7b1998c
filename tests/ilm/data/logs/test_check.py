"""What is said before a file is dropped is what happens when it is."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from ilm.data.logs.check import FileCheck, checking
from ilm.data.logs.files import find
from ilm.data.logs.update import update
from ilm.errors import DataError
from ilm.params import DataParams
from tests.log_drops import EARLIEST, NOW, drop, event
from tests.small_logs import write_logs


class Project:
    """A user's folder with a source, logs and a store."""

    def __init__(self, root: Path) -> None:
        self.root, self.store = root, root / "data/interim/log_store"
        write_logs(root / "data/raw")
        self.params = DataParams(
            source="folder", folder=str(root / "data/raw"), logs=str(root / "data/logs"), settle_seconds=0
        )

    def read_logs(self) -> None:
        update(find(Path(self.params.logs), 0).logs, self.store, self.params, EARLIEST, NOW)

    def check(self, path: Path, now: datetime = NOW) -> FileCheck:
        with checking(self.store, self.params, EARLIEST, now) as checker:
            return checker.check(path)

    def state(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in sorted(self.root.rglob("*")) if path.is_file()}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    drop(tmp_path / "project/data/logs", "a.csv", [event("u00", "i1"), event("u00", "i2", "2024-05-03T10:00:00")])
    made.read_logs()
    return made


ROWS = [
    event("u00", "i1"),  # told by a.csv
    event("u01", "i1"),
    event("u01", "i1"),  # told above
    event("u01", "unheard of"),
    event("u01", "i2", "2024-05-02T10:00:00"),  # late: 3 May has been there
    event("u01", "i2", "2024-05-04T10:00:00"),
    event("u01", "i2", "2033-01-01T00:00:00"),
    event("u00", "i0", "2020-09-13T12:26:40"),  # told by the source
]


def test_every_row_is_accounted_for_and_nothing_is_changed(project: Project, tmp_path: Path) -> None:
    path, before = drop(tmp_path, "new.csv.gz", ROWS), project.state()

    check = project.check(path)

    assert (check.rows, check.accepted, check.duplicate, check.kept_aside) == (8, 3, 3, 1)
    assert check.bad_rows.select("row", "rule").rows() == [(7, "timestamp_in_future")]
    assert check.late == 4, "new to the log store and before 3 May: rows 2, 4, 5 and 8"
    assert check.refused is None
    assert project.state() == before


def test_a_file_that_was_read_already_would_add_nothing(project: Project) -> None:
    check = project.check(Path(project.params.logs) / "a.csv")

    assert (check.rows, check.accepted, check.duplicate, check.late) == (2, 0, 2, 0)


def test_too_many_bad_rows_are_all_shown_with_why_the_run_would_stop(project: Project, tmp_path: Path) -> None:
    check = project.check(drop(tmp_path, "new.csv", [event("")] * 7 + [event()]))

    assert len(check.bad_rows) == 7
    assert "7 of 8 rows" in str(check.refused)


@pytest.mark.parametrize(
    ("name", "rule"),
    [("new.csv.part", "file_unfinished"), ("new.txt", "file_format_unknown"), ("new.csv", "file_empty")],
)
def test_a_file_that_cannot_be_used_as_a_whole_says_why(project: Project, tmp_path: Path, name: str, rule: str) -> None:
    (tmp_path / name).touch()

    assert str(project.check(tmp_path / name).refused).startswith(rule)


def test_a_file_that_is_not_there_is_a_mistake(project: Project, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        project.check(tmp_path / "new.csv")


def test_a_bad_file_that_lies_in_the_folder_does_not_hide_the_answer(project: Project, tmp_path: Path) -> None:
    drop(Path(project.params.logs), "bad.csv", [event("")] * 200)

    assert project.check(drop(tmp_path, "new.csv", [event("u05")])).accepted == 1


def test_without_a_store_the_answer_is_the_same(project: Project, tmp_path: Path) -> None:
    path = drop(tmp_path, "new.csv", ROWS)
    before = project.check(path)
    for file in project.store.rglob("*.*"):
        file.unlink()

    after = project.check(path)

    assert (after.accepted, after.duplicate, after.kept_aside) == (before.accepted, before.duplicate, before.kept_aside)


def test_a_file_of_items_is_checked_as_such(project: Project, tmp_path: Path) -> None:
    new = [{"item_id": "i99", "title": "New"}, {"item_id": "i98", "title": " "}, {"item_id": "i99", "title": "New"}]

    check = project.check(drop(tmp_path, "items-new.csv", new))

    assert (check.rows, check.accepted, check.duplicate) == (3, 1, 1)
    assert check.bad_rows.select("row", "rule").rows() == [(2, "title_missing")]
    assert "title_missing" in str(check.refused), "two of three rows are more than a twentieth"


def test_an_item_that_is_described_otherwise_would_stop_the_run(project: Project, tmp_path: Path) -> None:
    other = pl.read_csv(Path(project.params.folder) / "items.csv").with_columns(title=pl.lit("Other")).head(1)

    check = project.check(drop(tmp_path, "items-new.csv", other.to_dicts()))

    assert "differ in title" in str(check.refused)
