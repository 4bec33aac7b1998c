"""The store: only what is new is read, only touched dates are rewritten, and nothing half-done counts."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from ilm.data.logs import reading
from ilm.data.logs import update as update_module
from ilm.data.logs.files import find
from ilm.data.logs.quarantine import log_quarantine
from ilm.data.logs.store import MANIFEST, read_manifest
from ilm.data.logs.update import update
from ilm.errors import ArtifactError, DataError
from tests.log_drops import EARLIEST, NOW, Drops, event

MAY = ["2024-05-01T10:00:00", "2024-05-02T10:00:00", "2024-05-03T10:00:00"]


@pytest.fixture
def drops(tmp_path: Path) -> Drops:
    made = Drops(tmp_path)
    made.drop("a.csv", [event(time=time) for time in MAY])
    return made


def inodes(drops: Drops) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in (drops.store / "events").iterdir()}


def test_only_touched_dates_are_rewritten(drops: Drops) -> None:
    drops.update()
    before = inodes(drops)

    drops.drop("b.csv", [event("u2", time=MAY[1]), event("u2", time="2024-05-09T00:00:00")])
    updated = drops.update()

    assert updated.rewritten == [date(2024, 5, 2), date(2024, 5, 9)]
    kept = {name for name in before if not name.startswith("2024-05-02")}
    assert {name: inodes(drops)[name] for name in kept} == {name: before[name] for name in kept}
    assert len(inodes(drops)) == 4
    assert updated.late == 1, "a row for a date before 3 May, the last one of the store"


def test_files_that_were_read_are_not_opened_again(drops: Drops, monkeypatch: pytest.MonkeyPatch) -> None:
    drops.update()
    (drops.logs / "a.csv").rename(drops.logs / "renamed.csv")
    monkeypatch.setattr(reading, "read_blocks", lambda *_: pytest.fail("nothing is new"))

    updated = drops.update()

    assert (updated.read, updated.rewritten, updated.rebuilt) == ([], [], None)
    assert [facts.name for facts in updated.store.manifest.files.values()] == ["renamed.csv"]


def test_the_manifest_says_what_each_file_holds(drops: Drops) -> None:
    drops.drop("a.csv", [event(rating="5"), event("", rating="4"), event("u2", "i2", MAY[2], rating=None)])

    (facts,) = drops.update().store.manifest.files.values()

    assert (facts.name, facts.rows, facts.good, facts.quarantined) == ("a.csv", 3, 2, {"user_id_missing": 1})
    assert (facts.first, facts.last) == tuple(datetime.fromisoformat(t).replace(tzinfo=UTC) for t in (MAY[0], MAY[2]))
    assert (facts.hours, facts.types, facts.users, facts.items) == ({10: 2}, {"(none)": 2}, 2, 2)
    assert facts.missing == {"rating": 1, "event_type": 2, "event_id": 2}


def test_a_run_that_dies_before_the_manifest_is_written_leaves_the_old_state(
    drops: Drops, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = drops.update()
    drops.drop("b.csv", [event("u2", time=MAY[1])])
    with monkeypatch.context() as patch:
        patch.setattr("ilm.data.logs.store.write_json", _die)
        with pytest.raises(KeyboardInterrupt):
            drops.update()
    assert read_manifest(drops.store) == first.store.manifest

    again = drops.update()

    assert again.rebuilt is None
    clean = Drops(drops.root / "clean")
    for name in ("a.csv", "b.csv"):
        (clean.logs / name).write_bytes((drops.logs / name).read_bytes())
    clean.update()
    assert drops.bytes() == clean.bytes()


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_damaged_store_is_made_anew_from_the_files_and_says_so(drops: Drops) -> None:
    drops.update()
    whole = drops.bytes()
    for name in whole:
        path = drops.store / name
        path.write_bytes(path.read_bytes()[:-1] + b"?")

        assert "damaged" in str(drops.update().rebuilt)
        assert drops.bytes() == whole


def test_a_missing_table_of_ids_or_bad_rows_makes_the_store_anew(drops: Drops) -> None:
    drops.drop("b.csv", [event("")])
    drops.update()
    whole = drops.bytes()
    for path in (drops.store / "files").iterdir():
        path.unlink()
        assert "missing" in str(drops.update().rebuilt)
        assert drops.bytes() == whole


def test_other_settings_make_the_store_anew(drops: Drops) -> None:
    drops.update()
    other = drops.params.model_copy(update={"log_columns": {"rating": ["stars"]}})

    updated = update(find(drops.logs, 0).logs, drops.store, other, EARLIEST, NOW)

    assert updated.rebuilt == "code, settings or versions have changed"


def test_a_row_of_the_future_waits_in_quarantine_and_enters_when_its_time_has_come(drops: Drops) -> None:
    ahead = NOW + timedelta(seconds=drops.params.max_clock_skew)
    drops.drop("a.csv", [event(time=moment.isoformat()) for moment in (ahead, ahead + timedelta(seconds=1))])

    early = drops.update()

    assert len(drops.merged(early)[0]) == 1, "as far ahead as clocks may differ is no future"
    assert log_quarantine(early.store, {})["rule"].to_list() == ["timestamp_in_future"]
    at_once = drops.bytes()

    later = drops.update(NOW + timedelta(seconds=1))
    assert len(drops.merged(later)[0]) == 2
    assert log_quarantine(later.store, {}).is_empty()

    drops.update(NOW)  # a run for an earlier moment, as when an old state is made again
    assert drops.bytes() == at_once


def test_a_column_that_only_later_lines_of_json_have_is_read(drops: Drops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ilm.data.logs.text_blocks.SAMPLED_LINES", 1)
    (drops.logs / "a.csv").unlink()
    drops.drop("b.jsonl", [event()]).open("a").write(json.dumps(event("u2", rating=5, event_id="e")) + "\n")

    table = drops.merged(drops.update())[0]

    assert table.select("user_id", "rating", "event_id").rows() == [("u1", None, None), ("u2", 5.0, "e")]


def test_zero_is_one_rating_whichever_sign_came_first(tmp_path: Path) -> None:
    stores = []
    for order in (["-0.0", "0.0"], ["0.0", "-0.0"]):
        drops = Drops(tmp_path / order[0])
        for number, rating in enumerate(order):
            drops.drop(f"{number}.csv", [event(rating=rating)])
            drops.update()
        stores.append({name: content for name, content in drops.bytes().items() if name.startswith("events")})

    assert stores[0] == stores[1]


def test_a_file_that_changes_while_it_is_read_is_left_and_leaves_nothing(
    drops: Drops, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_names = reading.column_names

    def grown(path: Path) -> list[str]:
        with path.open("a") as file:
            file.write("u9,i1,2024-05-05T10:00:00\n")
        return true_names(path)

    monkeypatch.setattr(reading, "column_names", grown)
    updated = drops.update()

    assert updated.left == ["a.csv"]
    assert updated.store.manifest.files == {}
    assert updated.store.manifest.partitions == {}


@pytest.mark.parametrize(
    "error",
    [OSError(5, "Input/output error"), pl.exceptions.ComputeError("parquet: Input/output error (os error 5)")],
)
def test_a_file_that_a_failing_disk_cannot_give_stops_the_run_and_is_not_forgotten(
    drops: Drops, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(path: Path) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("ilm.data.logs.blocks._opened", fail)
        with pytest.raises(DataError, match=r"a\.csv: could not be read \(.*Input/output error"):
            drops.update()

    assert len(drops.merged(drops.update())[0]) == 3


def test_leftovers_of_a_killed_run_are_removed(drops: Drops) -> None:
    drops.update()
    whole = drops.bytes()
    leftover = drops.root / ".store.abc"
    for folder in (leftover, drops.store / ".manifest.json.abc"):
        folder.mkdir()
        (folder / "half").touch()

    drops.update()

    assert not leftover.exists()
    assert drops.bytes() == whole


def test_no_log_file_gives_an_empty_store_that_is_the_same_every_time(tmp_path: Path) -> None:
    drops = Drops(tmp_path)
    assert drops.update().store.manifest.files == {}
    before = drops.bytes()
    assert list(before) == [MANIFEST]
    drops.update()
    assert drops.bytes() == before


def test_a_manifest_that_is_not_there_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="dvc repro ingest"):
        read_manifest(tmp_path)


def test_neighbouring_dates_are_taken_together_and_a_date_is_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_module, "CHUNK_ROWS", 10)
    days = [date(2024, 5, day) for day in range(1, 6)]

    assert list(update_module.chunks(dict(zip(days, [4, 4, 4, 30, 1], strict=True)))) == [days[:3], days[3:4], days[4:]]
