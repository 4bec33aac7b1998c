import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import cli
from ilm.errors import ArtifactError
from tests.fake_project import ROOT, run


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("--history Heat Ronin -k 10", "--history Heat --history Ronin -k 10"),
        ("--history Heat --history Ronin", "--history Heat --history Ronin"),
        ("--history Heat Ronin --json --history Up", "--history Heat --history Ronin --json --history Up"),
        ("recommend --user 7 -k 5", "recommend --user 7 -k 5"),
        ("--history=-30- -k 5", "--history=-30- -k 5"),
        ("--history", ""),
    ],
)
def test_history_takes_several_titles_in_order(words: str, wanted: str) -> None:
    assert cli.spread(words.split(), "--history") == wanted.split()


@given(st.lists(st.lists(st.text().filter(lambda title: not title.startswith("-")), min_size=1), min_size=1))
def test_titles_arrive_complete_and_in_order_however_they_are_grouped(groups: list[list[str]]) -> None:
    words = [word for group in groups for word in ("--history", *group)]
    spread = cli.spread(words, "--history")
    assert spread[::2] == ["--history"] * (len(spread) // 2)
    assert spread[1::2] == [title for group in groups for title in group]


@pytest.mark.parametrize("form", [["A", "B"], ["A", "--history", "B"]])
def test_both_ways_to_write_a_history_reach_the_recommender(
    form: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows import registry
    from ilm.serve.item_language_model import ItemLanguageModel
    from ilm.serve.question import Recommendation

    class StandIn:
        def rank(self, *, user: str | None, history: list[str] | None, k: int) -> list[Recommendation]:
            assert (user, history, k) == (None, ["A", "B"], 3)
            return [Recommendation("7", "Heat (1995)", 1.25)]

    monkeypatch.setattr(registry, "champion_bundle", lambda project: project)
    monkeypatch.setattr(ItemLanguageModel, "from_pretrained", lambda folder: StandIn())
    monkeypatch.setattr(sys, "argv", ["ilm", "recommend", "--history", *form, "-k", "3", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == [{"rank": 1, "item_id": "7", "title": "Heat (1995)", "score": 1.25}]


@pytest.mark.parametrize(
    "words",
    [
        ["recommend"],
        ["recommend", "--user", "1", "--history", "A"],
        ["recommend", "--user", "1", "-k", "0"],
        ["recommend", "--user", "1", "-k", "ten"],
        ["promote"],
        ["compare", "1"],
        ["checkout", "1"],
        ["rollback", "1"],
        ["dance"],
    ],
)
def test_wrong_use_ends_with_exit_code_2(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ilm", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2


def test_mistake_is_one_message_without_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows import status

    def fail(project: object) -> None:
        raise ArtifactError("cf.safetensors: damaged. Run `dvc repro cf`.")

    monkeypatch.setattr(status, "print_status", fail)
    monkeypatch.setattr(sys, "argv", ["ilm", "status"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: cf.safetensors: damaged. Run `dvc repro cf`.\n"


def test_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import status

    monkeypatch.setattr(status, "print_status", lambda project: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["ilm", "status"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "recommend",
        "status",
        "doctor",
        "report",
        "promote",
        "rollback",
        "history",
        "compare",
        "checkout",
        "retrain",
        "schedule",
    ],
)
def test_every_command_explains_itself(command: str) -> None:
    done = run(ROOT, "-m", "flows.cli", command, "--help")
    assert done.returncode == 0
    assert "Usage: ilm" in done.stdout


def test_outside_a_project_the_message_says_where_to_go(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ilm", "promote", "1"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "Run from the project's root folder" in capsys.readouterr().err
