"""One promotion at a time, also when two machines share the registry. The other machine is a name in a claim."""

from pathlib import Path

import pytest

from flows import registry_claim
from flows.history import history
from flows.promotion import promote
from flows.registry_claim import OWNER, PromotionUnderWay, acquire
from flows.registry_store import Registry, Serving
from tests.small_registry import assert_consistent

ELSEWHERE = "otherhost@boot.1/77/1.00"
ENTRIES = 4
"""In the ledger of `serving`."""


def claim_from_elsewhere(registry: Registry, number: int, attempt: int = 1) -> str:
    name = f"{registry.name}--promotion-{number:06d}-{attempt}"
    registry.client.create_registered_model(name, tags={OWNER: ELSEWHERE})
    return name


def test_while_another_machine_promotes_nobody_else_does(tmp_path: Path, serving: Registry) -> None:
    claim_from_elsewhere(serving, ENTRIES)
    with pytest.raises(PromotionUnderWay, match="otherhost"):
        promote(tmp_path / "home", "3", expected_champion="2", because="It is new.")
    assert serving.serving() == Serving("2", "1")


def test_history_can_be_read_while_another_machine_promotes(
    tmp_path: Path, serving: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    claim_from_elsewhere(serving, ENTRIES)
    assert [reign.version for reign in history(tmp_path / "home")] == ["1", "2"]
    assert "another promotion is under way" in capsys.readouterr().out


def test_machine_that_was_silent_for_too_long_is_taken_for_dead(
    tmp_path: Path, serving: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim_from_elsewhere(serving, ENTRIES)
    monkeypatch.setattr(registry_claim, "STALE_SECONDS", -3600.0)
    promote(tmp_path / "home", "3", expected_champion="2", because="It is new.")
    assert serving.serving() == Serving("3", "2")
    assert_consistent(tmp_path / "home", serving)


def test_of_two_who_claim_at_once_one_wins(serving: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have looked and seen no claim; the database lets only one make it."""
    claim_from_elsewhere(serving, ENTRIES)
    monkeypatch.setattr(registry_claim, "_claims", lambda registry, number: {})
    with pytest.raises(PromotionUnderWay, match="another promotion was faster"):
        acquire(serving, ENTRIES)


def test_of_two_who_take_over_from_a_dead_one_one_wins(serving: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    claim_from_elsewhere(serving, ENTRIES)
    monkeypatch.setattr(registry_claim, "STALE_SECONDS", -3600.0)
    seen = registry_claim._claims(serving, ENTRIES)
    acquire(serving, ENTRIES)
    monkeypatch.setattr(registry_claim, "_claims", lambda registry, number: seen)
    with pytest.raises(PromotionUnderWay, match="another promotion was faster"):
        acquire(serving, ENTRIES)


def test_owner_that_was_taken_for_dead_does_not_go_on(serving: Registry) -> None:
    claim = acquire(serving, ENTRIES)
    claim.require()
    claim_from_elsewhere(serving, ENTRIES, attempt=2)
    with pytest.raises(PromotionUnderWay, match="another took over"):
        claim.require()


def test_owner_whose_claim_was_settled_and_made_anew_does_not_go_on(serving: Registry) -> None:
    claim = acquire(serving, ENTRIES)
    claim.release()
    with pytest.raises(PromotionUnderWay, match="another took over"):
        claim.require()
    claim_from_elsewhere(serving, ENTRIES)
    with pytest.raises(PromotionUnderWay, match="another took over"):
        claim.require()


def test_claim_does_not_meet_that_of_a_model_with_a_longer_name(serving: Registry) -> None:
    serving.client.create_registered_model(f"{serving.name}--promotion-extra--promotion-000004-1")
    acquire(serving, ENTRIES).release()
    assert len(serving.client.search_registered_models()) == 2
