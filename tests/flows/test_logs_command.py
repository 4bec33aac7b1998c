"""`ilm logs check`: a table per file, and an exit code that a script can use."""

import sys
from pathlib import Path

import pytest
import yaml
from small_logs import PARAMS, write_logs

from flows import cli
from tests.log_drops import drop, event


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    write_logs(folder / "data/raw")
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS.model_dump(by_alias=True)), encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


def check(monkeypatch: pytest.MonkeyPatch, *files: str) -> object:
    monkeypatch.setattr(sys, "argv", ["ilm", "logs", "check", *files])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_every_count_and_the_first_rows_of_every_rule_are_shown(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drop(project, "new.csv", [event("u00"), event("u00"), event("u00", "unheard of"), *[event("")] * 4])

    assert check(monkeypatch, "new.csv") == 0

    assert capsys.readouterr().out.splitlines() == [
        "new.csv: 7 rows",
        "  accepted               1",
        "  duplicate              1  told already, by this file or another",
        "  kept aside             1  until the catalogue knows their items",
        "  quarantined            4",
        "    user_id_missing                4  user_id is missing or blank",
        *(
            f'      row {row}: {{"user_id": "", "item_id": "i1", "timestamp": "2024-05-01T10:00:00"}}'
            for row in (4, 5, 6)
        ),
        "  late                   0  of those accepted or kept aside: dates before the last one of the log store",
    ]


def test_every_bad_row_can_be_shown_whole(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drop(project, "new.csv", [event("", "i" * 200)] * 5)
    check(monkeypatch, "new.csv")
    assert capsys.readouterr().out.count(": {") == 3
    check(monkeypatch, "--all", "new.csv")
    shown = capsys.readouterr().out
    assert [f"row {row}: {{" in shown for row in range(1, 6)] == [True] * 5
    assert shown.count("i" * 200) == 5


def test_a_file_that_would_stop_the_run_gives_exit_code_1(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drop(project, "good.csv", [event("u00")])
    drop(project, "bad.csv", [event("")] * 6)

    assert check(monkeypatch, "good.csv", "bad.csv") == 1
    assert "  The run would stop: bad.csv: 6 of 6 rows (100.0%) cannot be used" in capsys.readouterr().out


def test_a_file_that_would_not_be_used_gives_exit_code_1(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "cut.csv.gz").write_bytes(b"\x1f\x8b")

    assert check(monkeypatch, "cut.csv.gz") == 1
    assert capsys.readouterr().out.startswith("cut.csv.gz: would not be used. file_cut_off: the gzip file ends")


def test_a_file_that_is_not_there_gives_exit_code_2(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(monkeypatch, "nowhere.csv") == 2
