"""The lease among several processes and machines, with clocks that the test sets; then among real processes."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flows import lease
from flows.lease import FILE, Caller, Lease, LeaseHeld, LeaseLost, acquire, holder, wait_for
from ilm.errors import ArtifactError, IlmError
from tasks.process import identity
from tests.fake_project import ROOT, wait_until

SECONDS = 100.0


class World:
    """Two machines with a clock each, and two processes on each."""

    def __init__(self) -> None:
        self.now = {"a": 1000.0, "b": 70.0}
        """Monotonic clocks."""
        self.shift = {"a": 1e9, "b": 1e9 + 930.0}
        """What the time of day is ahead of them: at first both show the same."""
        self.dead: set[str] = set()

    def caller(self, process: str) -> Caller:
        machine = process[0]
        return Caller(
            process=process,
            machine=machine,
            wall=lambda: self.now[machine] + self.shift[machine],
            monotonic=lambda: self.now[machine],
            has_ended=self.dead.__contains__,
        )

    def pass_time(self, seconds: float) -> None:
        for machine in self.now:
            self.now[machine] += seconds


@pytest.fixture
def world() -> World:
    return World()


def take(project: Path, world: World, process: str) -> Lease:
    return acquire(project, "ilm retrain", SECONDS, world.caller(process))


def test_second_caller_is_told_who_holds_it_since_when_and_until_when(tmp_path: Path, world: World) -> None:
    world.shift["a"] = 1_700_000_000 - 1000
    take(tmp_path, world, "a@m/17/1.00")
    with pytest.raises(LeaseHeld) as said:
        take(tmp_path, world, "a@m/18/1.00")
    assert str(said.value) == (
        "a retrain is under way: `ilm retrain`, process 17 on a, since 2023-11-14 22:13:20 UTC, last heard of at "
        "2023-11-14 22:13:20 UTC; if it is heard of no more, it counts as dead at 2023-11-14 22:15:00 UTC. "
        "To wait for its end: `ilm retrain --wait MINUTES`."
    )


def test_released_lease_is_free(tmp_path: Path, world: World) -> None:
    take(tmp_path, world, "a1").release()
    assert holder(tmp_path, world.caller("a1")) is None
    take(tmp_path, world, "b1")


def test_dead_owners_lease_falls_at_once_on_its_machine(tmp_path: Path, world: World) -> None:
    take(tmp_path, world, "a1")
    world.dead.add("a1")
    take(tmp_path, world, "a2")


def test_on_another_machine_a_dead_owners_lease_holds_until_it_expires(tmp_path: Path, world: World) -> None:
    take(tmp_path, world, "a1")
    world.dead.add("a1")
    world.pass_time(SECONDS - 1)
    with pytest.raises(LeaseHeld):
        take(tmp_path, world, "b1")
    world.pass_time(1)
    take(tmp_path, world, "b1")


def test_frozen_owner_loses_it_after_the_expiry_and_notices(tmp_path: Path, world: World) -> None:
    frozen = take(tmp_path, world, "a1")
    world.pass_time(SECONDS)
    take(tmp_path, world, "a2")
    with pytest.raises(LeaseLost, match="was taken over by `ilm retrain`, process"):
        frozen.renew()
    assert frozen.lost


def test_late_owner_keeps_it_if_nobody_came(tmp_path: Path, world: World) -> None:
    late = take(tmp_path, world, "a1")
    world.pass_time(2 * SECONDS)
    late.renew()
    with pytest.raises(LeaseHeld):
        take(tmp_path, world, "a2")


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_clock_that_jumps_neither_ends_nor_prolongs_a_lease_on_its_machine(
    tmp_path: Path, world: World, jump: float
) -> None:
    kept = take(tmp_path, world, "a1")
    world.shift["a"] += jump
    with pytest.raises(LeaseHeld):
        take(tmp_path, world, "a2")
    kept.renew()
    world.shift["a"] -= jump
    with pytest.raises(LeaseHeld):
        take(tmp_path, world, "a2")
    world.pass_time(SECONDS)
    take(tmp_path, world, "a2")


def test_release_by_who_lost_it_does_not_take_it_from_its_new_owner(tmp_path: Path, world: World) -> None:
    frozen = take(tmp_path, world, "a1")
    world.pass_time(SECONDS)
    take(tmp_path, world, "a2")
    frozen.release()
    with pytest.raises(LeaseHeld):
        take(tmp_path, world, "b1")


def test_removed_lease_stops_its_owner(tmp_path: Path, world: World) -> None:
    owner = take(tmp_path, world, "a1")
    (tmp_path / FILE).unlink()
    with pytest.raises(LeaseLost, match="was removed"):
        owner.renew()


@pytest.mark.parametrize("text", ["", "{", '{"token": 1}'])
def test_damaged_lease_is_nobodys_and_nobody_gets_it(tmp_path: Path, world: World, text: str) -> None:
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ArtifactError, match="damaged"):
        take(tmp_path, world, "a1")


def test_waiting_ends_when_the_lease_falls(tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    held = take(tmp_path, world, "a1")
    asleep: list[float] = []

    def sleep(seconds: float) -> None:
        asleep.append(seconds)
        world.pass_time(seconds)
        if len(asleep) == 3:
            held.release()

    wait_for(tmp_path, "ilm retrain", SECONDS, 60, world.caller("b1"), sleep)
    assert len(asleep) == 3
    assert capsys.readouterr().out.count("waiting: a retrain is under way") == 1


def test_waiting_in_vain_ends_with_who_holds_it(tmp_path: Path, world: World) -> None:
    held = take(tmp_path, world, "a1")

    def sleep(seconds: float) -> None:
        world.pass_time(seconds)
        held.renew()

    start = world.now["b"]
    with pytest.raises(LeaseHeld):
        wait_for(tmp_path, "ilm retrain", SECONDS, 301, world.caller("b1"), sleep)
    assert world.now["b"] == start + 301


class Leases(RuleBasedStateMachine):
    """Any sequence of what processes, clocks and power cuts may do, against what the file said before it."""

    processes = st.sampled_from(["a1", "a2", "b1", "b2"])
    moments = st.sampled_from([0.5, SECONDS / 4, SECONDS - 0.5, SECONDS, 5 * SECONDS])

    def __init__(self) -> None:
        super().__init__()
        self.project = Path(tempfile.mkdtemp())
        self.world = World()
        self.leases: dict[str, Lease] = {}
        self.owner: str | None = None
        """Who renewed or acquired last and did not release."""
        self.beat = 0.0
        """True time of that; time passes equally for all, whatever clocks show."""
        self.true = 0.0
        self.jumped = False
        self.booted: dict[str, int] = {"a": 0, "b": 0}

    @rule(process=processes)
    def acquire(self, process: str) -> None:
        if process in self.world.dead:
            return
        try:
            self.leases[process] = take(self.project, self.world, process)
        except LeaseHeld:
            assert self.owner is not None, "a free lease was refused"
            if self.owner[0] == process[0]:
                assert self.owner not in self.world.dead, "the dead held it"
                assert self.true < self.beat + SECONDS, "it was held beyond its expiry"
            elif not self.jumped:
                assert self.true < self.beat + SECONDS + 1e-3, "it was held beyond its expiry"
            return
        if self.owner is not None and self.owner[0] == process[0]:
            assert self.owner in self.world.dead or self.true >= self.beat + SECONDS - 1e-3, "taken from the living"
        elif self.owner is not None and not self.jumped:
            assert self.true >= self.beat + SECONDS - 1e-3, "taken from somebody who may live"
        self.owner, self.beat = process, self.true

    @rule(process=processes)
    def renew(self, process: str) -> None:
        if process in self.world.dead or process not in self.leases:
            return
        try:
            self.leases[process].renew()
        except LeaseLost:
            assert self.owner != process, "the owner was told that it lost"
            return
        assert self.owner == process, "somebody else was told that it is the owner"
        self.beat = self.true

    @rule(process=processes)
    def release(self, process: str) -> None:
        if process in self.world.dead or process not in self.leases:
            return
        self.leases.pop(process).release()
        if self.owner == process:
            self.owner = None

    @rule(process=processes)
    def kill(self, process: str) -> None:
        self.world.dead.add(process)
        self.leases.pop(process, None)

    @rule(process=processes)
    def start_again(self, process: str) -> None:
        if process in self.world.dead and self.owner != process:  # under its old name: others know it by this one
            self.world.dead.remove(process)

    @rule(seconds=moments)
    def pass_time(self, seconds: float) -> None:
        self.true += seconds
        self.world.pass_time(seconds)

    @rule(machine=st.sampled_from(["a", "b"]), by=st.sampled_from([-1e5, -SECONDS, SECONDS, 1e5]))
    def set_clock(self, machine: str, by: float) -> None:
        self.jumped = True
        self.world.shift[machine] += by

    @invariant()
    def at_most_one_may_write(self) -> None:
        if self.owner is None:
            assert not (self.project / FILE).exists()
        else:
            assert json.loads((self.project / FILE).read_text())["process"] == self.owner


TestLeases = Leases.TestCase


HOLD = """
import sys, time
from pathlib import Path
from flows.lease import acquire
with acquire(Path(sys.argv[1]), "ilm retrain", 60).kept():
    print("held", flush=True)
    time.sleep(600)
"""
RACE = """
import sys
from pathlib import Path
from flows.lease import LeaseHeld, acquire
sys.stdin.readline()
try:
    acquire(Path(sys.argv[1]), "ilm retrain", 60)
    print("got", flush=True)
except LeaseHeld:
    print("held", flush=True)
sys.stdin.readline()
"""


def run_python(code: str, project: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, str(project)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_of_processes_that_come_at_once_one_gets_it(tmp_path: Path) -> None:
    racers = [run_python(RACE, tmp_path) for _ in range(4)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.stdout.readline() for racer in racers if racer.stdout]
    for racer in racers:
        racer.communicate("end\n")
    assert sorted(said) == ["got\n", "held\n", "held\n", "held\n"]


def test_killed_process_holds_nothing_though_nobody_has_reaped_it(tmp_path: Path) -> None:
    owner = run_python(HOLD, tmp_path)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "held\n"
    with pytest.raises(LeaseHeld, match=f"process {owner.pid} on"):
        acquire(tmp_path, "ilm retrain", 60)
    owner.kill()
    wait_until(lambda: psutil.Process(owner.pid).status() == psutil.STATUS_ZOMBIE)
    acquire(tmp_path, "ilm retrain", 60)
    owner.communicate()


def test_process_with_the_id_of_a_dead_owner_is_not_taken_for_it(tmp_path: Path) -> None:
    host, pid, started = identity(psutil.Process()).rsplit("/", 2)
    acquire(tmp_path, "ilm retrain", 60, Caller(process=f"{host}/{pid}/{float(started) - 9:.2f}"))
    acquire(tmp_path, "ilm retrain", 60)


def test_lease_is_renewed_in_the_background_and_released_at_the_end(tmp_path: Path) -> None:
    with acquire(tmp_path, "ilm retrain", 0.2).kept():
        first = json.loads((tmp_path / FILE).read_text())["beat"]
        wait_until(lambda: json.loads((tmp_path / FILE).read_text())["beat"] > first)
    assert not (tmp_path / FILE).exists()


def test_loss_interrupts_what_the_main_thread_waits_for(tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        ours = acquire(tmp_path, "ilm retrain", 0.2)
        with pytest.raises(Interrupted), ours.kept():
            (tmp_path / FILE).unlink()
            threading.Event().wait(60)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ours.lost


def test_heartbeat_outlives_a_disk_that_is_full_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, refused = lease._write, threading.Event()

    def full(project: Path, held: lease.Holder) -> None:
        refused.set()
        raise OSError(28, "No space left on device")

    with acquire(tmp_path, "ilm retrain", 0.2).kept():
        monkeypatch.setattr(lease, "_write", full)
        assert refused.wait(60)
        first = json.loads((tmp_path / FILE).read_text())["beat"]
        monkeypatch.setattr(lease, "_write", write)
        wait_until(lambda: json.loads((tmp_path / FILE).read_text())["beat"] > first)


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / ".ilm").write_text("a file")
    with pytest.raises(IlmError, match="lease.json: cannot be written"):
        acquire(tmp_path, "ilm retrain", 60)


def test_start_time_does_not_depend_on_the_time_of_day(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity(psutil.Process())
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 1e6)
    monkeypatch.setattr(psutil, "boot_time", lambda: 1.0)
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: 1.0)
    assert identity(psutil.Process(os.getpid())) == before
