from pathlib import Path

import pytest

from flows.status import print_status, step_states
from ilm.errors import ConfigError


@pytest.fixture(autouse=True)
def three_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import status

    monkeypatch.setattr(status, "STEPS", ("ingest", "cf", "evaluate"))


def states(project: Path) -> dict[str, str]:
    return {state.name: state.state for state in step_states(project)}


def test_finished_steps_are_up_to_date_with_time_and_memory(finished: Path) -> None:
    assert set(states(finished).values()) == {"up to date"}
    state = step_states(finished)[0]
    assert state.finished_at.startswith("20")
    assert float(state.seconds) >= 0
    assert float(state.peak_memory_mb) > 1


def test_nothing_run_yet_is_said_of_every_step(project: Path) -> None:
    assert set(states(project).values()) == {"never run"}


def test_changed_setting_puts_its_step_out_of_date(finished: Path) -> None:
    (finished / "params.yaml").write_text((finished / "params.yaml").read_text().replace("factors: 2", "factors: 3"))
    assert states(finished) == {"ingest": "up to date", "cf": "out of date", "evaluate": "up to date"}


def test_what_is_missing_is_said_with_the_command_that_makes_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_status(project)
    printed = capsys.readouterr().out
    assert "Run `ilm train` (or `dvc repro`)" in printed
    assert "champion  none yet. Run `ilm train --bootstrap`." in printed


def test_champion_is_shown_with_its_metrics(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import registry
    from flows.promotion import promote_first
    from ilm.serve import item_language_model
    from tests.flows.test_registry import StandIn

    monkeypatch.setattr(item_language_model, "ItemLanguageModel", StandIn)
    promote_first(finished, registry.register(finished), bootstrap=True)
    print_status(finished)
    printed = capsys.readouterr().out
    assert "champion  version 1  HR@5 0.2500  HR@10 0.2500  NDCG@5 0.2500  NDCG@10 0.2500" in printed
    assert "Run `ilm train`" not in printed


def test_folder_that_is_no_project_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="project's root folder"):
        step_states(tmp_path)
