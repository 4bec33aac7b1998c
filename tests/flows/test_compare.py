import json
from pathlib import Path

import pytest

from flows.compare import compare, print_comparison
from flows.registry_store import Registry
from ilm.errors import ConfigError


def test_only_what_differs_is_shown_of_settings_and_data(home_of_two: Path) -> None:
    found = compare(home_of_two, "1", "2")
    assert found.settings == {"cf.factors": ("2", "3")}
    assert found.data == {}  # the fake step reads log.txt alone
    assert set(found.code) == {"git.commit"}
    assert found.decision is None


def test_metrics_stand_side_by_side(home_of_two: Path) -> None:
    found = compare(home_of_two, "previous", "champion")
    assert (found.a, found.b) == ("1", "2")
    assert found.metrics["sequential.filtered.ndcg_at_10"] == (0.25, 0.25)


def test_version_that_does_not_exist_is_a_message(home_of_two: Path) -> None:
    with pytest.raises(ConfigError, match="no version 7"):
        compare(home_of_two, "1", "7")


def test_everything_is_printed(home_of_two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison(home_of_two, "1", "2")
    printed = capsys.readouterr().out
    for part in ("cf.factors", "data  the same", "ndcg_at_10", "+0.0000", "no gate has compared them"):
        assert part in printed


@pytest.mark.parametrize(("a", "b"), [("1", "3"), ("3", "1")])
def test_gates_word_is_found_whichever_comes_first(
    serving: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, a: str, b: str
) -> None:
    from flows import compare as comparing

    record = tmp_path / "gate/decision.json"
    record.parent.mkdir()
    said = {"challenger": {"digest": "d3"}, "champion": {"digest": "d1"}, "outcome": "refuse", "reasons": ["A tie."]}
    record.write_text(json.dumps(said))
    serving.client.log_artifacts(serving.find("3").run_id, str(record.parent), "gate")
    monkeypatch.setattr(comparing, "_settings", lambda registry, version: {})
    found = compare(tmp_path / "home", a, b)
    assert found.decision is not None
    assert (found.decision.outcome, found.decision.reasons) == ("refuse", ("A tie.",))
