"""What the processes of a training tell the step that started them."""

from pathlib import Path

import pytest

from ilm.errors import ConfigError
from ilm.train.messages import Inbox, Outbox


def started(folder: Path, monkeypatch: pytest.MonkeyPatch, rank: int = 0) -> Outbox:
    monkeypatch.setenv("RANK", str(rank))
    return Outbox(folder)


def test_values_are_told_once_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox, inbox = started(tmp_path, monkeypatch), Inbox(tmp_path)
    assert inbox.values() == []
    outbox.log({"loss": 2.0}, 0)
    outbox.log({"loss": 1.0}, 1)
    assert inbox.values() == [(0, {"loss": 2.0}), (1, {"loss": 1.0})]
    outbox.log({"loss": 0.5}, 2)
    assert inbox.values() == [(2, {"loss": 0.5})]
    assert inbox.values() == []


def test_steps_that_are_done_again_after_a_restart_are_not_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(tmp_path)
    for steps in ((0, 1), (1, 2)):
        outbox = started(tmp_path, monkeypatch)
        for step in steps:
            outbox.log({"loss": float(step)}, step)
    assert inbox.values() == [(step, {"loss": float(step)}) for step in (0, 1, 2)]
    assert inbox.restarts == 1


def test_restart_is_counted_though_the_main_process_was_ended_before_it_said_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in (1, 1, 0):
        started(tmp_path, monkeypatch, rank)
    assert Inbox(tmp_path).restarts == 1


def test_other_values_of_the_same_step_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox, inbox = started(tmp_path, monkeypatch), Inbox(tmp_path)
    outbox.log({"loss": 1.0}, 7)
    outbox.log({"recall": 0.5}, 7)
    assert inbox.values() == [(7, {"loss": 1.0}), (7, {"recall": 0.5})]


def test_half_a_line_of_a_killed_process_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox(tmp_path)
    started(tmp_path, monkeypatch).log({"loss": 1.0}, 0)
    with (tmp_path / "metrics-0.jsonl").open("a") as file:
        file.write('[1, {"lo')
    started(tmp_path, monkeypatch).log({"loss": 0.5}, 1)
    assert inbox.values() == [(0, {"loss": 1.0}), (1, {"loss": 0.5})]


def test_mistake_of_any_process_stops_later_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = started(tmp_path, monkeypatch, rank=1)
    assert not outbox.is_over()
    outbox.mistake(ConfigError("model.llm: wrong."))
    assert started(tmp_path, monkeypatch).is_over()
    assert Inbox(tmp_path).mistake() == "model.llm: wrong."


def test_traceback_of_the_first_process_is_the_one_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank, text in ((1, "the cause"), (0, "connection closed by peer")):
        try:
            raise RuntimeError(text)
        except RuntimeError:
            started(tmp_path, monkeypatch, rank).crash()
    assert "RuntimeError: the cause" in (Inbox(tmp_path).crash() or "")
