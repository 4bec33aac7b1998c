"""A promotion or rollback that is killed after each of its writes; and the command that repairs it, killed as well."""

import os
from pathlib import Path

import pytest

from flows import registry_claim
from flows.history import history
from flows.promotion import promote, rollback
from flows.registry_store import Registry, Serving
from tests.fake_project import ROOT, run
from tests.small_registry import Killer, assert_consistent

PROMOTION = (
    "create_registered_model",  # the claim
    "set_registered_model_tag", "append_line",  # intent
    "set_registered_model_alias", "set_registered_model_alias",  # previous, champion
    "delete_registered_model_alias",  # challenger
    "set_registered_model_tag", "append_line",  # done
    "delete_registered_model",
)  # fmt: skip
MOVED = 5
"""From this write on the champion is the new one."""
REPAIR = 6
"""No repair writes more often than that."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def killer(serving: Registry, monkeypatch: pytest.MonkeyPatch) -> Killer:
    return Killer(monkeypatch)


def test_the_writes_of_a_promotion_are_these(home: Path, serving: Registry, killer: Killer) -> None:
    promote(home, "3", expected_champion="2", because="It is new.")
    assert tuple(killer.written) == PROMOTION
    assert serving.aliases() == {"champion": "3", "previous": "2"}
    assert_consistent(home, serving)


@pytest.mark.parametrize("after", range(1, len(PROMOTION) + 1))
def test_next_command_finishes_or_undoes_a_killed_promotion(
    home: Path, serving: Registry, killer: Killer, after: int
) -> None:
    assert killer.kill(after, lambda: promote(home, "3", expected_champion="2", because="It is new."))
    reigns = history(home)
    if after < MOVED:
        assert serving.aliases() == {"champion": "2", "previous": "1", "challenger": "3"}
        assert [reign.version for reign in reigns] == ["1", "2"]
    else:
        assert serving.aliases() == {"champion": "3", "previous": "2"}
        assert [reign.version for reign in reigns] == ["1", "2", "3"]
        assert reigns[-1].because == "By hand, It is new. (no gate has compared them)"
    assert_consistent(home, serving)


@pytest.mark.parametrize("again", range(1, REPAIR + 2))
@pytest.mark.parametrize("after", [4, 5, 7])
def test_repair_that_is_killed_is_repaired(
    home: Path, serving: Registry, killer: Killer, after: int, again: int
) -> None:
    assert killer.kill(after, lambda: promote(home, "3", expected_champion="2", because="It is new."))
    killed = killer.kill(again, lambda: history(home))
    assert not (killed and again > REPAIR)
    history(home)
    assert serving.serving() == (Serving("2", "1") if after < MOVED else Serving("3", "2"))
    assert_consistent(home, serving)


@pytest.mark.parametrize("after", range(1, len(PROMOTION) + 1))
def test_same_command_again_does_what_it_was_to_do(home: Path, serving: Registry, killer: Killer, after: int) -> None:
    assert killer.kill(after, lambda: promote(home, "3", expected_champion="2", because="It is new."))
    promote(home, "3", expected_champion=serving.serving().champion, because="It is new.")
    assert serving.aliases() == {"champion": "3", "previous": "2"}
    assert_consistent(home, serving)


@pytest.mark.parametrize("after", range(1, len(PROMOTION)))
def test_killed_rollback_is_repaired(home: Path, serving: Registry, killer: Killer, after: int) -> None:
    assert killer.kill(after, lambda: rollback(home))
    history(home)
    assert serving.serving() == (Serving("2", "1") if after < MOVED else Serving("1", "2"))
    assert_consistent(home, serving)


@pytest.mark.parametrize("after", range(1, 6))
def test_killed_first_promotion_is_repaired(
    home: Path, registered: Registry, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    killer = Killer(monkeypatch)
    assert killer.kill(after, lambda: promote(home, "1", expected_champion=None, bootstrap=True))
    promote(home, "1", expected_champion=registered.serving().champion, bootstrap=True)
    assert registered.aliases() == {"champion": "1"}
    assert_consistent(home, registered)


def test_torn_last_line_is_put_aside_and_written_again(
    home: Path, serving: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / ".ilm/ledger.jsonl"
    whole = file.read_bytes()
    os.truncate(file, len(whole) - 30)
    history(home)
    assert file.read_bytes() == whole
    (aside,) = (home / ".ilm").glob("ledger.jsonl.damaged-*")
    assert aside.read_bytes() == whole.splitlines()[-1][: 1 - 30]
    assert aside.name in capsys.readouterr().out


def test_previous_that_was_deleted_meanwhile_does_not_stop_the_repair(
    home: Path, serving: Registry, killer: Killer
) -> None:
    assert killer.kill(4, lambda: promote(home, "3", expected_champion="2", because="It is new."))
    serving.client.delete_model_version(serving.name, "1")
    history(home)
    assert serving.serving() == Serving("2", None)
    assert_consistent(home, serving)


def test_alias_that_somebody_moved_meanwhile_stays(home: Path, serving: Registry, killer: Killer) -> None:
    assert killer.kill(4, lambda: promote(home, "3", expected_champion="2", because="It is new."))
    serving.set_alias("champion", "1")
    reigns = history(home)
    assert serving.serving().champion == "1"
    assert (reigns[-1].version, reigns[-1].action) == ("1", "outside")
    assert_consistent(home, serving)


@pytest.mark.parametrize("after", [4, 7])
def test_process_that_is_really_killed_leaves_nothing_that_stops_the_next(
    home: Path, serving: Registry, after: int
) -> None:
    code = f"""
import os
import pytest
from flows import promotion
from pathlib import Path
from tests.small_registry import Killed, Killer
promotion.verify = lambda registry, version: None
killer = Killer(pytest.MonkeyPatch())
killer.after = {after}
try:
    promotion.promote(Path.cwd(), "3", expected_champion="2", because="It is new.")
except Killed:
    os._exit(9)
"""
    assert run(home, "-c", code, PYTHONPATH=str(ROOT)).returncode == 9
    (left,) = registry_claim._all(serving)
    assert left.owner != ""
    history(home)
    assert serving.serving() == (Serving("2", "1") if after < MOVED else Serving("3", "2"))
    assert_consistent(home, serving)
