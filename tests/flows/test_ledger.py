"""The ledger on disk and in the registry: nothing in it can be changed or lost without being noticed."""

import errno
import json
import os
from pathlib import Path

import pytest

from flows import ledger as ledgers
from flows.history import history
from flows.ledger import FILE, TAG, Ledger, person
from flows.promotion import promote
from flows.registry_store import Registry
from ilm.errors import ArtifactError, IlmError
from tests.small_registry import assert_consistent, make_registry


@pytest.fixture
def file(tmp_path: Path, serving: Registry) -> Path:
    return tmp_path / "home" / FILE


@pytest.fixture
def ledger(file: Path, serving: Registry) -> Ledger:
    return Ledger(file.parents[1], serving)


def test_every_promotion_is_an_intent_and_an_outcome_with_all_that_was_known(ledger: Ledger) -> None:
    entries = ledger.entries()
    assert [entry.sequence for entry in entries] == [0, 1, 2, 3]
    assert [entry.kind for entry in entries] == ["intent", "done", "intent", "done"]
    line = entries[-1].model_dump(mode="json", exclude={"time", "chain"})
    assert line == {
        "sequence": 3,
        "kind": "done",
        "action": "promote",
        "before": {"champion": "1", "previous": None},
        "after": {"champion": "2", "previous": "1"},
        "actor": "ben@desk",
        "because": "By hand, It reads better. (no gate has compared them)",
        "decision": None,
    }


def test_what_is_written_stays_and_is_added_to(ledger: Ledger, file: Path) -> None:
    before = file.read_bytes()
    promote(ledger.project, "3", expected_champion="2", because="It is new.")
    assert file.read_bytes().startswith(before)
    assert len(file.read_bytes().splitlines()) == 6


def test_line_is_on_disk_before_the_next_write(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    flags, synced = [], []
    opened, sync = os.open, os.fsync

    def note(path: object, how: int, *mode: int) -> int:
        flags.append(how)
        return opened(path, how, *mode)  # type: ignore[arg-type]

    monkeypatch.setattr(ledgers.os, "open", note)
    monkeypatch.setattr(ledgers.os, "fsync", lambda descriptor: synced.append(sync(descriptor)))
    ledgers.append_line(ledger.project / FILE, "{}")
    assert flags[0] & os.O_APPEND
    assert len(synced) == 1


def test_lost_file_is_made_again_byte_for_byte(ledger: Ledger, file: Path) -> None:
    before = file.read_bytes()
    file.unlink()
    history(ledger.project)
    assert file.read_bytes() == before


def test_lost_lines_are_written_again(ledger: Ledger, file: Path) -> None:
    before = file.read_bytes()
    file.write_bytes(b"".join(before.splitlines(keepends=True)[:2]))
    history(ledger.project)
    assert file.read_bytes() == before


@pytest.mark.parametrize("number", range(4))
def test_edited_line_is_noticed(ledger: Ledger, file: Path, number: int) -> None:
    lines = file.read_text().splitlines()
    lines[number] = lines[number].replace("desk", "moon")
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ArtifactError, match="ledger"):
        promote(ledger.project, "3", expected_champion="2", because="It is new.")
    assert ledger.registry.serving().champion == "2"


@pytest.mark.parametrize("number", range(4))
def test_edited_tag_is_noticed(ledger: Ledger, number: int) -> None:
    key = f"{TAG}{number:06d}"
    ledger.registry.set_tag(key, ledger.registry.tags()[key].replace("desk", "moon"))
    with pytest.raises(ArtifactError, match="ledger"):
        ledger.entries()


@pytest.mark.parametrize("number", [0, 2])
def test_tag_that_is_gone_is_noticed(ledger: Ledger, number: int) -> None:
    ledger.registry.client.delete_registered_model_tag(ledger.registry.name, f"{TAG}{number:06d}")
    with pytest.raises(ArtifactError, match=f"tag {TAG}{number:06d} is gone .* Set it to line {number + 1}"):
        ledger.entries()


def test_line_that_was_taken_out_is_noticed(ledger: Ledger, file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:1] + lines[2:]))
    with pytest.raises(ArtifactError, match="entry 1 does not follow the one before"):
        ledger.entries()


def test_line_that_is_no_entry_is_noticed(ledger: Ledger, file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], b"{}\n", *lines[2:]]))
    with pytest.raises(ArtifactError, match="entry 1 is damaged"):
        ledger.entries()


@pytest.mark.parametrize("rest", [b'{"sequence": 4, "ti', b"\0\0\0", b"\xff\xfe"])
def test_what_a_crash_left_of_a_line_is_put_aside(ledger: Ledger, file: Path, rest: bytes) -> None:
    before = file.read_bytes()
    file.write_bytes(before + rest)
    history(ledger.project)
    assert file.read_bytes() == before
    assert [aside.read_bytes() for aside in file.parent.glob("*.damaged-*")] == [rest]


def test_registry_that_was_set_back_is_noticed(
    ledger: Ledger, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    other = make_registry(tmp_path / "other", empty_store)
    with pytest.raises(ArtifactError, match="4 entries, but model 'ilm' in the registry has 0"):
        Ledger(ledger.project, other).entries()


def test_change_of_an_alias_by_other_means_is_noted(ledger: Ledger) -> None:
    ledger.registry.set_alias("champion", "3")
    history(ledger.project)
    entry = ledger.entries()[-1]
    assert (entry.kind, entry.action, entry.after.champion) == ("found", "outside", "3")
    assert entry.because.startswith("Found champion 3 and previous 1; the ledger had champion 2 and previous 1.")
    assert_consistent(ledger.project, ledger.registry)


def test_full_disk_is_a_message_and_what_was_begun_is_mended(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def half(descriptor: int, line: bytes) -> int:
        return write(descriptor, line[: len(line) // 2])

    with monkeypatch.context() as full:
        full.setattr(ledgers.os, "write", half)
        with pytest.raises(IlmError, match=os.strerror(errno.ENOSPC)):
            promote(ledger.project, "3", expected_champion="2", because="It is new.")
    promote(ledger.project, "3", expected_champion="2", because="It is new.")
    assert ledger.registry.serving().champion == "3"
    assert_consistent(ledger.project, ledger.registry)


def test_state_that_cannot_be_written_is_a_message_before_anything_moves(tmp_path: Path, registered: Registry) -> None:
    (tmp_path / "home" / ".ilm").write_text("a file in the way")
    with pytest.raises(IlmError, match="cannot be written"):
        promote(tmp_path / "home", "1", expected_champion=None, bootstrap=True)
    assert registered.aliases() == {}


def test_entry_with_the_longest_reason_fits_into_a_tag(ledger: Ledger) -> None:
    promote(ledger.project, "3", expected_champion="2", because='"' * 1000)
    assert max(map(len, ledger.registry.tags().values())) < 5000
    assert json.loads((ledger.project / FILE).read_text().splitlines()[-1])["because"].endswith('"')


def test_person_is_a_name_on_a_machine_even_where_the_user_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(ledgers.getpass, "getuser", unknown)
    assert person().startswith(f"user {os.getuid()}@")
