"""What cannot be used goes to quarantine with file, row, rule and reason; too much of it stops the run."""

import json
from pathlib import Path

import pytest

from ilm.data.logs import reading
from ilm.data.logs.quarantine import log_quarantine
from ilm.errors import DataError
from tests.log_drops import Drops, event

MAY = "2024-05-01T10:00:00"


@pytest.fixture
def drops(tmp_path: Path) -> Drops:
    made = Drops(tmp_path)
    made.drop("a.csv", [event(f"u{n}") for n in range(3)])
    return made


def test_a_moment_before_the_earliest_is_set_aside(drops: Drops) -> None:
    drops.drop("a.csv", [event(time="1970-01-01T00:00:00"), event()])

    updated = drops.update()

    assert log_quarantine(updated.store, {}).select("source", "row", "rule").rows() == [
        ("a.csv", 1, "timestamp_too_early")
    ]


def test_unreadable_files_are_set_aside_and_the_good_ones_go_on(drops: Drops) -> None:
    drops.drop("cut.csv.gz", [event(time=MAY)] * 500)
    cut = drops.logs / "cut.csv.gz"
    cut.write_bytes(cut.read_bytes()[:-9])
    (drops.logs / "empty.csv").touch()
    drops.drop("renamed.csv", [{"userId": "u1", "item_id": "i1", "timestamp": MAY}])

    updated = drops.update()

    quarantine = log_quarantine(updated.store, {})
    assert quarantine.select("table", "source", "row", "rule", "record").rows() == [
        ("logs", "cut.csv.gz", None, "file_cut_off", None),
        ("logs", "empty.csv", None, "file_empty", None),
        ("logs", "renamed.csv", None, "columns_missing", None),
    ]
    assert len(drops.merged(updated)[0]) == 3


def test_a_bad_row_goes_to_quarantine_as_it_came(drops: Drops) -> None:
    drops.drop("b.jsonl", [event(user="  ", rating=5)])
    (drops.logs / "c.jsonl").write_text("{no line has a name\n")

    rows = log_quarantine(drops.update().store, {}).select("source", "row", "rule", "record").rows()

    assert [row[:3] for row in rows] == [
        ("b.jsonl", 1, "user_id_missing"),
        ("c.jsonl", None, "file_damaged"),
    ]
    assert json.loads(rows[0][3]) == {
        "user_id": "  ",
        "item_id": "i1",
        "timestamp": MAY,
        "rating": "5",
    } | dict.fromkeys(("event_type", "event_id"))


def test_lists_and_objects_in_the_place_of_an_id_are_set_aside(drops: Drops) -> None:
    rows = [event(["u"]), event({"id": 1}), event("u", [1]), event("u", {}), event("[deleted]")]  # type: ignore[arg-type]
    (drops.logs / "b.jsonl").write_text("\n".join(json.dumps(row) for row in rows))

    quarantine = log_quarantine(drops.update().store, {})

    assert quarantine.select("row", "rule").rows() == [(row, "id_nested") for row in (1, 2, 3, 4)]


def test_too_many_bad_rows_of_one_file_stop_the_run_and_the_store_stays_as_it_was(tmp_path: Path) -> None:
    drops = Drops(tmp_path, max_quarantine_fraction=0.05)
    drops.drop("good.csv", [event(f"u{n}") for n in range(900)])
    drops.update()
    before = drops.bytes()
    drops.drop("bad.csv", [event(f"u{n}") for n in range(94)] + [event("")] * 6)

    with pytest.raises(DataError, match=r"bad\.csv: 6 of 100 rows \(6\.0%\).*user_id_missing 6 \(first: row 95\)"):
        drops.update()
    assert drops.bytes() == before
    assert not list(tmp_path.glob(".store.*"))


def test_a_bad_row_of_a_small_file_stops_nothing_but_many_such_files_do(tmp_path: Path) -> None:
    drops = Drops(tmp_path, max_quarantine_fraction=0.05)
    drops.drop("0.csv", [event(), event("")])
    assert drops.update().store.manifest.files

    for number in range(1, 50):
        drops.drop(f"{number}.csv", [event(f"u{number}"), event("")])
    with pytest.raises(DataError, match=r"together: \d+ of \d+ rows"):
        drops.update()


def test_a_file_with_more_bad_rows_than_memory_holds_stops_the_run(
    drops: Drops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_BAD_ROWS", 1)
    drops.drop("b.csv", [event("")] * 2)

    with pytest.raises(DataError, match="more than 1 rows cannot be used"):
        drops.update()
