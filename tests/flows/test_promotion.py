"""Who may become champion, on which grounds, and the way back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from flows import promotion
from flows.history import history
from flows.ledger import Ledger
from flows.promotion import ChampionMoved, promote, promote_first, rollback
from flows.registry_store import Registry, Serving
from ilm.errors import ArtifactError, ConfigError
from ilm.files import digest
from tests.small_registry import assert_consistent


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def write_decision(folder: Path, challenger: str, champion: str | None, outcome: str) -> Path:
    """A gate's record about versions with these numbers."""
    folder.mkdir(exist_ok=True)
    models = {"challenger": {"digest": f"d{challenger}"}, "champion": champion and {"digest": f"d{champion}"}}
    record = folder / "decision.json"
    record.write_text(json.dumps(models | {"outcome": outcome, "reasons": ["Proved on 900 users."]}))
    return record


def file_with(registry: Registry, version: str, folder: Path) -> None:
    """Keep a record with the version's run, as a retrain does."""
    registry.client.log_artifacts(registry.find(version).run_id, str(folder), "gate")


def test_first_champion_needs_bootstrap(home: Path, registered: Registry) -> None:
    with pytest.raises(ArtifactError, match="ilm promote 1 --bootstrap"):
        promote(home, "1", expected_champion=None)
    assert registered.aliases() == {}
    promote(home, "1", expected_champion=None, bootstrap=True)
    assert registered.aliases() == {"champion": "1"}
    assert_consistent(home, registered)


def test_version_waits_as_challenger_unless_it_may_be_the_first(home: Path, registered: Registry) -> None:
    assert promote_first(home, "1", bootstrap=False) is None
    assert registered.aliases() == {"challenger": "1"}
    assert promote_first(home, "1", bootstrap=True) == "1"
    assert promote_first(home, "2", bootstrap=True) == "1"
    assert registered.aliases() == {"champion": "1", "challenger": "2"}


def test_old_champion_becomes_previous_and_the_new_one_is_no_challenger(home: Path, serving: Registry) -> None:
    promote(home, "3", expected_champion="2", because="It is new.")
    assert serving.aliases() == {"champion": "3", "previous": "2"}


def test_promoting_the_champion_again_writes_nothing(home: Path, serving: Registry) -> None:
    before = serving.tags(), serving.aliases()
    promote(home, "2", expected_champion="2")
    assert (serving.tags(), serving.aliases()) == before


def test_version_may_be_named_by_alias(home: Path, serving: Registry) -> None:
    promote(home, "challenger", expected_champion="2", because="It is new.")
    assert serving.serving().champion == "3"


@pytest.mark.parametrize("version", ["7", "best"])
def test_version_that_does_not_exist_is_a_message(home: Path, serving: Registry, version: str) -> None:
    with pytest.raises(ConfigError, match=rf"no version {version} \(there are: 1, 2, 3\)"):
        promote(home, version, expected_champion="2", because="It is new.")


def test_champion_that_moved_since_the_comparison_stops_the_promotion(home: Path, serving: Registry) -> None:
    with pytest.raises(ChampionMoved, match="champion is now 2, was 1 when compared"):
        promote(home, "3", expected_champion="1", because="It is better than 1.")
    assert serving.serving() == Serving("2", "1")


def test_second_of_two_promotions_at_once_is_told(
    home: Path, tmp_path: Path, serving: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first verifies its version, another machine on the same registry promotes."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "params.yaml").write_text("")

    def verify(registry: Registry, version: str) -> None:
        if version == "3":
            promote(other, "1", expected_champion="2", because="From elsewhere.")

    monkeypatch.setattr(promotion, "verify", verify)
    with pytest.raises(ChampionMoved, match="champion is now 1, was 2 when compared: somebody was faster"):
        promote(home, "3", expected_champion="2", because="It is new.")
    history(home)
    assert serving.serving() == Serving("1", "2")
    assert_consistent(home, serving)
    assert (home / ".ilm/ledger.jsonl").read_bytes() == (other / ".ilm/ledger.jsonl").read_bytes()


def test_version_that_does_not_work_is_not_promoted(
    home: Path, serving: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(registry: Registry, version: str) -> None:
        raise ArtifactError("its files have another digest")

    monkeypatch.setattr(promotion, "verify", broken)
    before = serving.tags(), serving.aliases()
    for command in (lambda: promote(home, "3", expected_champion="2", because="x"), lambda: rollback(home)):
        with pytest.raises(ArtifactError, match="another digest"):
            command()
    assert (serving.tags(), serving.aliases()) == before


def test_registry_that_does_not_keep_the_alias_is_noticed(
    home: Path, serving: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as deaf:
        deaf.setattr(MlflowClient, "set_registered_model_alias", lambda *_: None)
        with pytest.raises(ArtifactError, match="should have champion 3 and previous 2 and reads champion 2 and"):
            promote(home, "3", expected_champion="2", because="It is new.")
    history(home)
    assert serving.serving() == Serving("2", "1")
    assert_consistent(home, serving)


def test_registry_that_fails_in_the_middle_is_a_message(
    home: Path, serving: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    def away(*_: object) -> None:
        raise MlflowException("connection refused")

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "set_registered_model_alias", away)
        with pytest.raises(ArtifactError, match="connection refused. Mend it, then run the command again"):
            promote(home, "3", expected_champion="2", because="It is new.")
    promote(home, "3", expected_champion="2", because="It is new.")
    assert_consistent(home, serving)


def test_person_without_a_gates_word_must_say_why(home: Path, serving: Registry) -> None:
    with pytest.raises(ConfigError, match=r"no gate has compared them.*ilm promote 3 --because TEXT"):
        promote(home, "3", expected_champion="2", because=" ")
    promote(home, "3", expected_champion="2", because="Users\nlike it.", actor="anna@desk")
    entry = Ledger(home, serving).entries()[-1]
    assert (entry.actor, entry.decision) == ("anna@desk", None)
    assert entry.because == "By hand, Users like it. (no gate has compared them)"


@pytest.mark.parametrize("outcome", ["refuse", "underpowered", "error"])
def test_person_who_overrules_the_gate_must_say_why_and_the_ledger_says_both(
    home: Path, serving: Registry, tmp_path: Path, outcome: str
) -> None:
    record = write_decision(tmp_path / "gate", "3", "2", outcome)
    file_with(serving, "3", record.parent)
    with pytest.raises(ConfigError, match=f"the gate said {outcome}: Proved on 900 users"):
        promote(home, "3", expected_champion="2")
    promote(home, "3", expected_champion="2", because="The test was broken.")
    entry = Ledger(home, serving).entries()[-1]
    assert f"the gate said {outcome}" in entry.because
    assert entry.decision == digest(record)


def test_gates_word_that_is_filed_with_the_version_is_enough(home: Path, serving: Registry, tmp_path: Path) -> None:
    record = write_decision(tmp_path / "gate", "3", "2", "promote")
    file_with(serving, "3", record.parent)
    promote(home, "3", expected_champion="2")
    entry = Ledger(home, serving).entries()[-1]
    assert (entry.decision, entry.because) == (digest(record), "Proved on 900 users.")


def test_gates_word_about_another_champion_is_none(home: Path, serving: Registry, tmp_path: Path) -> None:
    file_with(serving, "3", write_decision(tmp_path / "gate", "3", "1", "promote").parent)
    with pytest.raises(ConfigError, match="no gate has compared them"):
        promote(home, "3", expected_champion="2")


def test_record_that_promoted_stays_though_the_version_is_judged_again(
    home: Path, serving: Registry, tmp_path: Path
) -> None:
    record = write_decision(tmp_path / "gate", "3", "2", "promote")
    promote(home, "3", expected_champion="2", evidence=record)
    kept, run = f"gate/{digest(record)[:12]}", serving.find("3").run_id
    file_with(serving, "3", write_decision(tmp_path / "gate", "3", "2", "refuse").parent)
    assert [file.path for file in serving.client.list_artifacts(run, kept)] == [f"{kept}/decision.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said.update(outcome="refuse"), "the gate said refuse"),
        (lambda said: said.update(challenger={"digest": "d1"}), "compares other models"),
        (lambda said: said.update(champion={"digest": "d1"}), "compares other models"),
        (lambda said: said.update(champion=None), "compares other models"),
        (lambda said: said.pop("outcome"), "not a gate's decision"),
    ],
)
def test_flow_promotes_only_on_a_record_that_says_so_of_these_models(
    home: Path, serving: Registry, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    record = write_decision(tmp_path / "gate", "3", "2", "promote")
    said = json.loads(record.read_text())
    change(said)
    record.write_text(json.dumps(said))
    with pytest.raises(ArtifactError, match=message):
        promote(home, "3", expected_champion="2", evidence=record, because="A reason does not replace it.")
    assert serving.serving() == Serving("2", "1")


def test_reason_that_no_tag_can_hold_is_a_message(home: Path, serving: Registry) -> None:
    with pytest.raises(ConfigError, match=r"1,001 characters; at most 1,000"):
        promote(home, "3", expected_champion="2", because="x" * 1001)


def test_rollback_and_back_again(home: Path, serving: Registry) -> None:
    assert rollback(home, because="It recommends nonsense.") == "1"
    assert serving.serving() == Serving("1", "2")
    assert rollback(home) == "2"
    assert serving.serving() == Serving("2", "1")
    assert_consistent(home, serving)


def test_rollback_to_any_former_champion(home: Path, serving: Registry) -> None:
    promote(home, "3", expected_champion="2", because="It is new.")
    rollback(home, to="1")
    assert serving.serving() == Serving("1", "3")


@pytest.mark.parametrize("to", ["3", "2"])
def test_rollback_to_what_never_served_or_serves_is_refused(home: Path, serving: Registry, to: str) -> None:
    with pytest.raises(ConfigError, match=rf"version {to} is champion, or never was \(there are: 1\)"):
        rollback(home, to=to)


def test_rollback_without_previous_is_a_message(home: Path, registered: Registry) -> None:
    promote(home, "1", expected_champion=None, bootstrap=True)
    with pytest.raises(ArtifactError, match="no `previous` to go back to"):
        rollback(home)


def test_rollback_when_the_champion_was_deleted_from_the_registry(home: Path, serving: Registry) -> None:
    serving.client.delete_model_version(serving.name, "2")
    assert rollback(home) == "1"
    assert serving.serving() == Serving("1", None)
    assert_consistent(home, serving)


def test_champion_of_before_there_was_a_ledger_is_noted(home: Path, registered: Registry) -> None:
    registered.set_alias("champion", "1")
    promote(home, "2", expected_champion="1", because="It is new.")
    assert [(reign.version, reign.action) for reign in history(home)] == [("1", "outside"), ("2", "promote")]
    assert_consistent(home, registered)
