"""`ilm chat` and `ilm explain` as they are typed, with a tiny model in a folder."""

import io
import json
import sys

import pytest

from flows import cli
from tests.ilm.serve.conftest import make_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_model(tmp_path_factory.mktemp("asked"), "qformer"))


def ilm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str, typed: str = "") -> list[str]:
    monkeypatch.setattr(sys, "argv", ["ilm", *words])
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    return capsys.readouterr().out.splitlines()


def test_a_conversation_is_had_line_by_line(folder, monkeypatch, capsys):
    typed = "Something older than 1999\n\nwhy this one?\n/because 1\n/like 1\n/history\n/reset\n/nonsense\n"
    said = ilm(monkeypatch, capsys, "chat", "--user", "alice", "--model", folder, "-k", "2", typed=typed)
    assert said[0] == "  (from 1998 or earlier)"
    assert [line[:6] for line in said[1:3]] == ["  1  T", "  2  O"]
    title = said[1].split("Try ")[1].split(". ")[0]
    assert said[3].startswith(f"  1  {title}")
    assert said[4].startswith(f"  {title}  score ")
    assert f"  noted: {title}" in said
    assert said[said.index(f"  noted: {title}") + 1 :][:3] == ["  Twin (1)", "  Heat (1986)", f"  {title}"]
    assert "  forgotten. 3 items are known of you." in said
    assert said[-1].strip() == "/quit            end (or Ctrl-D)"


def test_a_mistake_is_one_line_and_the_conversation_goes_on(folder, monkeypatch, capsys):
    typed = "/like Ronin (1997)\nHello\n/quit\nnot read\n"
    said = ilm(monkeypatch, capsys, "chat", "--model", folder, "-k", "1", typed=typed)
    assert len(said) == 2
    assert "Did you mean" in said[0]
    assert said[1].startswith("  1  Try ")


def test_who_is_not_known_is_told_how_to_be(folder, monkeypatch, capsys):
    said = ilm(monkeypatch, capsys, "chat", "--model", folder, typed="/history\n/because Ronin (1998)\n")
    assert said == [
        "  nothing yet. /like TITLE adds to it, and titles that you mention count.",
        "  there is no history yet to explain anything by. Name something you like first.",
    ]


def test_an_explanation_is_printed_as_text_and_as_json(folder, monkeypatch, capsys):
    words = ["explain", "--item", "Matrix, The (1999)", "--history", "i7", "i0", "--model", folder]
    text = ilm(monkeypatch, capsys, *words)
    assert text[0].startswith("Matrix, The (1999)  score ")
    assert sum("Matrix Reloaded, The (2003)" in line for line in text) == 3
    told = json.loads("\n".join(ilm(monkeypatch, capsys, *words, "--json")))
    assert told["item_id"] == "i6"
    assert [item["item_id"] for item in told["history"]] == ["i7", "i0"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["explain", "--item", "x", "--user", "alice", "--model", "FOLDER"], "no item has the title or id 'x'"),
        (["chat", "--user", "nobody", "--model", "FOLDER"], "user 'nobody' is not among"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_message(folder, words, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ilm", *[folder if word == "FOLDER" else word for word in words]])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_all_users_are_recommended_to_and_a_second_call_does_no_work(folder, monkeypatch, capsys, tmp_path):
    words = ["recommend", "--all-users", "-k", "2", "--out", str(tmp_path / "recs.parquet"), "--model", folder]
    assert ilm(monkeypatch, capsys, *words)[-1].startswith("recommend  3 users, ")
    assert ilm(monkeypatch, capsys, *words)[-1].startswith("recommend  3 users, 3 of them kept, 0.0 per second")


@pytest.mark.parametrize("words", [["--all-users"], ["--user", "alice", "--out", "x"], ["--all-users", "--user", "u"]])
def test_options_that_do_not_belong_together_are_told(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ilm", "recommend", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
