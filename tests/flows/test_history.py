from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.history import history, print_history, print_json, reigns
from flows.ledger import START, Action, Entry, Kind
from flows.promotion import rollback
from flows.registry_store import Registry, Serving


def entry(day: int, kind: Kind, champion: str | None, action: Action = "promote") -> Entry:
    moment = datetime(2024, 5, day, 3, tzinfo=UTC)
    return Entry(
        sequence=0, time=moment, kind=kind, action=action, before=Serving(None, None), after=Serving(champion, None),
        actor="anna@desk", because="Because.", decision=None, chain=START,
    )  # fmt: skip


def told(*entries: Entry) -> list[tuple[str | None, str, str | None]]:
    return [(r.version, r.since[8:10], r.until and r.until[8:10]) for r in reigns(entries, {})]


def test_who_was_champion_on_which_day() -> None:
    found = told(
        entry(1, "intent", "1"), entry(1, "done", "1"),
        entry(4, "intent", "2"), entry(4, "done", "2"),
        entry(9, "intent", "1", "rollback"), entry(9, "done", "1", "rollback"),
    )  # fmt: skip
    assert found == [("1", "01", "04"), ("2", "04", "09"), ("1", "09", None)]


def test_promotion_that_was_finished_later_counts_from_when_the_alias_moved() -> None:
    assert told(entry(1, "intent", "1"), entry(3, "done", "1")) == [("1", "01", None)]


def test_promotion_that_was_undone_is_no_reign() -> None:
    entries = entry(1, "intent", "1"), entry(1, "done", "1"), entry(2, "intent", "2"), entry(3, "undone", "1")
    assert told(*entries) == [("1", "01", None)]


def test_change_by_other_means_counts_from_when_it_was_noticed() -> None:
    entries = entry(1, "intent", "1"), entry(5, "found", "7"), entry(6, "found", None, "outside")
    assert told(*entries) == [("7", "05", "06"), (None, "06", None)]
    assert reigns(entries, {})[0].action == "outside"


def test_table_names_days_people_reasons_and_metrics(
    tmp_path: Path, serving: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    rollback(tmp_path / "home", because="Nonsense at night.", actor="carl@desk")
    capsys.readouterr()
    print_history(tmp_path / "home")
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line[36:] for line in lines[::2]] == [
        "1           0.1000  bootstrap: anna@desk",
        "2           0.2000  promote: ben@desk",
        "1           0.1000  rollback: carl@desk",
    ]
    assert lines[1::2] == [
        "    The first champion, by explicit bootstrap.",
        "    By hand, It reads better. (no gate has compared them)",
        "    Nonsense at night.",
    ]
    assert lines[0][18:34] == lines[2][:16]
    assert lines[-2][18:36].strip() == "now"


def test_json_has_all_of_it_and_nothing_else_on_stdout(
    tmp_path: Path, serving: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    capsys.readouterr()
    serving.set_alias("champion", "3")
    print_json(tmp_path / "home")
    found = json.loads(capsys.readouterr().out)
    assert [reign["version"] for reign in found] == ["1", "2", "3"]
    assert found[1]["until"] == found[2]["since"]
    assert found[2]["action"] == "outside"


def test_no_champion_yet_is_said(tmp_path: Path, registered: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    assert history(tmp_path / "home") == []
    print_history(tmp_path / "home")
    assert "ilm train --bootstrap" in capsys.readouterr().out


def test_version_that_was_deleted_keeps_its_place_in_history(tmp_path: Path, serving: Registry) -> None:
    serving.client.delete_model_version(serving.name, "1")
    found = history(tmp_path / "home")
    assert [reign.version for reign in found] == ["1", "2"]
    assert found[0].metrics == {}
