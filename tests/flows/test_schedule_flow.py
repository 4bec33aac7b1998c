"""How a retrain's end is shown in Prefect. That the flow really runs: test_schedule_real."""

from pathlib import Path

import pytest

from flows import retrain_flow
from flows.lease import LeaseHeld
from flows.retrain import Retrained
from flows.retrain_flow import ended, retrain
from ilm.errors import IlmError


@pytest.mark.parametrize(
    ("outcome", "type_", "name"),
    [
        ("too_little", "COMPLETED", "Too little"),
        ("promote", "COMPLETED", "Promoted"),
        ("refuse", "COMPLETED", "Refused"),
        ("underpowered", "COMPLETED", "Underpowered"),
        ("error", "FAILED", "Gate failed"),
        ("something new", "FAILED", "Gate failed"),
    ],
)
def test_state_says_how_the_retrain_ended(outcome: str, type_: str, name: str) -> None:
    state = ended(Retrained("run-1", outcome, ("Because.", "And so."), 7, 0))
    assert (state.type, state.name, state.message) == (type_, name, "run-1: Because. And so.")


@pytest.mark.parametrize(
    ("error", "type_", "name"),
    [(LeaseHeld("Ben is at it."), "COMPLETED", "Skipped"), (IlmError("No room."), "FAILED", "Failed")],
)
def test_state_says_why_the_retrain_did_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, type_: str, name: str
) -> None:
    monkeypatch.setattr(retrain_flow, "retrain_project", raising(error))
    state = retrain.fn(tmp_path)
    assert (state.type, state.name, state.message) == (type_, name, str(error))


def test_defect_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrain_flow, "retrain_project", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        retrain.fn(tmp_path)


def raising(error: Exception):
    def retrain_project(*_: object) -> None:
        raise error

    return retrain_project
