"""Which files of the logs folder count now, and what is said of the others."""

import os
from pathlib import Path

import pytest

from ilm.data.logs import files
from ilm.data.logs.files import find
from ilm.errors import DataError
from tests.log_drops import drop, event


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    drop(tmp_path, "good.csv", [event()])
    return tmp_path


def names(found: list[files.LogFile]) -> list[str]:
    return [file.name for file in found]


def test_files_are_found_in_folders_too_and_hidden_ones_are_not(folder: Path) -> None:
    for name in ("2024/05/a.csv", ".hidden.csv", ".cache/b.csv"):
        drop(folder, name, [event()])

    found = find(folder, 0)

    assert names(found.logs) == ["2024/05/a.csv", "good.csv"]
    assert found.left == found.rejected == {}


def test_equal_contents_are_the_same_file_whatever_their_names(folder: Path) -> None:
    drop(folder, "copy.csv", [event()])

    one, other = find(folder, 0).logs

    assert one.sha256 == other.sha256


def test_files_of_items_are_told_apart_by_their_name(folder: Path) -> None:
    drop(folder, "new/items-2.csv", [{"item_id": "i9", "title": "Nine"}])

    found = find(folder, 0)

    assert (names(found.logs), names(found.items)) == (["good.csv"], ["new/items-2.csv"])


@pytest.mark.parametrize("name", ["a.csv.tmp", "a.csv.part"])
def test_a_file_that_calls_itself_unfinished_is_left_and_not_waited_for(folder: Path, name: str) -> None:
    os.utime(folder / "good.csv", (1, 1))
    (folder / name).write_text("half")

    found = find(folder, 60, wait=lambda _: pytest.fail("nothing to wait for"))

    assert names(found.logs) == ["good.csv"]
    assert list(found.left) == [name]


def test_a_file_that_grows_while_it_is_watched_is_left_for_the_next_run(folder: Path) -> None:
    def meanwhile(seconds: float) -> None:
        assert seconds == 60
        with (folder / "good.csv").open("a") as file:
            file.write("u2,i2,2024-05-01T11:00:00\n")

    found = find(folder, 60, wait=meanwhile)

    assert found.logs == []
    assert found.left == {"good.csv": "it is still being written"}


def test_a_file_that_vanishes_while_it_is_watched_is_left(folder: Path) -> None:
    assert find(folder, 60, wait=lambda _: (folder / "good.csv").unlink()).left.keys() == {"good.csv"}


@pytest.mark.parametrize("shift", [0, 3600])
def test_a_fresh_file_that_holds_still_is_taken_even_if_the_clock_jumped(folder: Path, shift: int) -> None:
    status = (folder / "good.csv").stat()
    ahead = status.st_mtime + shift
    os.utime(folder / "good.csv", (ahead, ahead))

    assert names(find(folder, 2 * 3600, wait=lambda _: None).logs) == ["good.csv"]


def test_a_file_of_no_known_form_is_rejected_by_name(folder: Path) -> None:
    (folder / "notes.txt").write_text("hello")

    assert find(folder, 0).rejected["notes.txt"].rule == "file_format_unknown"


def test_a_file_that_may_not_be_read_is_rejected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "digest", refuse)

    rejected = find(folder, 0).rejected["good.csv"]

    assert (rejected.rule, str(rejected)) == ("file_unreadable", "may not be read (Permission denied)")


def test_a_folder_that_is_not_there_is_a_mistake_in_the_settings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find(tmp_path / "lgs", 0)


def test_a_link_to_a_file_is_followed_and_any_other_is_said_to_lead_nowhere(folder: Path) -> None:
    drop(folder, ".hidden/b.csv", [event("u2")])
    for name, target in {"b.csv": ".hidden/b.csv", "gone.csv": "nothing.csv", "old": ".hidden"}.items():
        (folder / name).symlink_to(target)

    found = find(folder, 0)

    assert names(found.logs) == ["b.csv", "good.csv"]
    assert {name: error.rule for name, error in found.rejected.items()} == {
        "gone.csv": "file_unreadable",
        "old": "file_unreadable",
    }
    assert found.left == {}


def test_a_folder_that_may_not_be_listed_stops_the_run_and_its_files_do_not_count_as_gone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "2024").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("2024"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)

    with pytest.raises(DataError, match=r"2024: may not be listed \(Permission denied\)"):
        find(folder, 0)


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_a_name_that_is_no_utf_8_is_given_as_it_prints(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff.csv")).write_text("user_id\n")

    assert names(find(folder, 0).logs) == ["\\udcff.csv", "good.csv"]


def test_a_file_that_is_being_written_is_not_the_last_word(folder: Path) -> None:
    found = find(folder, 60, wait=lambda _: os.utime(folder / "good.csv", (1, 1)))

    assert not found.is_settled(), "DVC would count it as read"


def test_what_arrives_after_the_search_is_noticed(folder: Path) -> None:
    found = find(folder, 0)
    assert found.is_settled()
    drop(folder, "later.csv", [event()])
    assert not found.is_settled()
