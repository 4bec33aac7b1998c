"""How a retrain's end is shown in Prefect. That the flow really runs: test_schedule_real."""

from pathlib import Path

import pytest

from flows import retrain_flow
from flows.lease import LeaseHeld
from flows.retrain import Retrained
from flows.retrain_flow import ended, retrain


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


def test_run_beside_another_retrain_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(*_: object) -> None:
        raise LeaseHeld("a retrain is under way: ben's.")

    monkeypatch.setattr(retrain_flow, "retrain_project", held)
    state = retrain.fn(tmp_path)
    assert (state.type, state.name, state.message) == ("COMPLETED", "Skipped", "a retrain is under way: ben's.")
