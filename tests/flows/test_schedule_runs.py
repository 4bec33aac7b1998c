"""What follows from how a run ended, by a Prefect that remembers what it is told. The true one: test_schedule_real."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest

from flows import scheduler_prefect, scheduler_runs
from flows.schedule import Schedule
from flows.schedule_arrivals import listing, mark_seen, seen
from flows.scheduler_prefect import CATCH_UP
from flows.scheduler_runs import Runs

DEPLOYMENT = uuid4()
ON_ARRIVAL = Schedule(name="shop", on_arrival=True, since=0, changed=0)


class Prefect:
    """Stands in for flows.scheduler_prefect: one deployment, whose due runs and states a test sets."""

    def __init__(self) -> None:
        self.waiting: list[SimpleNamespace] = []
        self.state_now: SimpleNamespace | None = None
        self.dead: list[SimpleNamespace] = []
        self.told: list[tuple[str, ...]] = []

    def follow(self, client: object, home: Path, schedule: Schedule) -> UUID:
        return DEPLOYMENT

    def due(self, client: object, deployment_id: UUID) -> list[SimpleNamespace]:
        return list(self.waiting)

    def order(self, client: object, deployment_id: UUID, *tags: str) -> None:
        self.told.append(("order", *tags))

    def claim(self, client: object, run_id: UUID) -> bool:
        self.waiting.clear()
        return True

    def state(self, client: object, run_id: UUID) -> SimpleNamespace | None:
        return self.state_now

    def left_behind(self, client: object, deployment_id: UUID) -> list[SimpleNamespace]:
        dead, self.dead = self.dead, []
        return dead

    def miss(self, client: object, run: SimpleNamespace) -> None:
        self.told.append(("miss", run.name))

    def cancelled(self, client: object, run_id: UUID) -> None:
        self.told.append(("cancelled",))

    def crashed(self, client: object, run_id: UUID, why: str) -> None:
        self.told.append(("crashed",))


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Prefect:
    stand_in = Prefect()
    for name in vars(Prefect):
        if not name.startswith("_"):
            monkeypatch.setattr(scheduler_prefect, name, getattr(stand_in, name))
    starter = SimpleNamespace(Popen=lambda words, **_: subprocess.Popen(["sh", "-c", "exit 7"]), DEVNULL=None)
    monkeypatch.setattr(scheduler_runs, "subprocess", starter)
    return stand_in


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text("data:\n  settle_seconds: 0\n")
    (tmp_path / "data/logs").mkdir(parents=True)
    (tmp_path / "data/logs/day.csv").write_text("rows")
    (tmp_path / ".ilm").mkdir()
    mark_seen(tmp_path, "what was there before")
    monkeypatch.setenv("ILM_ALERT_COMMAND", f"tee {tmp_path / 'told.json'}")
    monkeypatch.delenv("ILM_ALERT_URL", raising=False)
    return tmp_path


CLIENT = SimpleNamespace(api_url="http://127.0.0.1:1/api/")


def due(*tags: str, name: str = "run") -> SimpleNamespace:
    return SimpleNamespace(id=uuid4(), tags=list(tags), name=name)


def ended(home: Path, prefect: Prefect, schedule: Schedule, *tags: str) -> None:
    """A run is started, its process ends, and the scheduler looks again."""
    runs = Runs(home)
    prefect.waiting = [due(*tags)]
    runs.look(CLIENT, schedule)
    assert runs._now is not None
    runs._now.process.wait()
    runs.look(CLIENT, schedule.model_copy(update={"on_arrival": False}))
    assert runs._now is None


@pytest.mark.parametrize(
    ("type_", "name", "is_seen", "told", "alerted"),
    [
        ("COMPLETED", "Refused", True, [], False),
        ("COMPLETED", "Too little", True, [], False),
        ("FAILED", "Failed", True, [], False),
        ("COMPLETED", "Skipped", False, [], False),
        ("CANCELLING", "Cancelling", True, [("cancelled",)], False),
        ("CANCELLED", "Cancelled", True, [("cancelled",)], False),
        ("RUNNING", "Running", True, [("crashed",), ("order", CATCH_UP)], True),
        ("PENDING", "Pending", True, [("crashed",), ("order", CATCH_UP)], True),
        ("CRASHED", "Crashed", True, [("crashed",), ("order", CATCH_UP)], True),
    ],
)
def test_end_of_a_run_decides_what_is_told_and_whether_its_files_count_as_seen(
    home: Path, prefect: Prefect, type_: str, name: str, is_seen: bool, told: list[tuple[str, ...]], alerted: bool
) -> None:
    prefect.state_now = SimpleNamespace(type=type_, name=name, message="")
    ended(home, prefect, ON_ARRIVAL)
    assert prefect.told == told
    assert seen(home) == (listing(home) if is_seen else "what was there before")
    assert (home / "told.json").exists() == alerted


def test_run_that_made_up_for_another_one_is_not_made_up_for(home: Path, prefect: Prefect) -> None:
    prefect.state_now = SimpleNamespace(type="RUNNING", name="Running", message="")
    ended(home, prefect, ON_ARRIVAL, CATCH_UP)
    assert prefect.told == [("crashed",)]


def test_nothing_is_made_up_for_while_paused(home: Path, prefect: Prefect) -> None:
    prefect.state_now = SimpleNamespace(type="RUNNING", name="Running", message="")
    ended(home, prefect, ON_ARRIVAL.model_copy(update={"paused": True}))
    assert prefect.told == [("crashed",)]


def test_deleted_run_is_forgotten(home: Path, prefect: Prefect) -> None:
    ended(home, prefect, ON_ARRIVAL)
    assert prefect.told == []


def test_of_several_runs_that_are_due_the_last_is_run(home: Path, prefect: Prefect) -> None:
    prefect.waiting = [due(name="monday"), due(name="tuesday"), due(name="wednesday")]
    wanted = prefect.waiting[-1].id
    runs = Runs(home)
    runs.look(CLIENT, ON_ARRIVAL)
    assert prefect.told == [("miss", "monday"), ("miss", "tuesday")]
    assert runs._now is not None
    assert runs._now.run_id == wanted
    runs._now.process.wait()


@pytest.mark.parametrize(("type_", "told"), [("CANCELLING", ("cancelled",)), ("RUNNING", ("crashed",))])
def test_run_without_a_process_is_dead(home: Path, prefect: Prefect, type_: str, told: tuple[str, ...]) -> None:
    prefect.dead = [SimpleNamespace(id=uuid4(), tags=[CATCH_UP], state=SimpleNamespace(type=type_))]
    Runs(home).look(CLIENT, ON_ARRIVAL.model_copy(update={"on_arrival": False}))
    assert prefect.told == [told]


def test_files_that_came_while_another_retrain_is_under_way_wait_for_its_end(home: Path, prefect: Prefect) -> None:
    from flows.lease import acquire

    held = acquire(home, "ilm retrain", 60)
    runs = Runs(home)
    runs.look(CLIENT, ON_ARRIVAL)
    assert prefect.told == []
    held.release()
    runs.look(CLIENT, ON_ARRIVAL)
    assert prefect.told == [("order",)]
