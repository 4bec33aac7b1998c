import os
from pathlib import Path

import pytest

from flows.schedule_arrivals import COST, LONGEST_WAIT, Arrivals, listing, mark_seen, seen
from ilm.errors import ConfigError

SETTLED = 10.0
"""data.settle_seconds"""


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(f"data:\n  settle_seconds: {SETTLED:.0f}\n")
    (tmp_path / "data/logs").mkdir(parents=True)
    return tmp_path


def drop(home: Path, name: str = "day.csv", text: str = "rows") -> None:
    (home / "data/logs" / name).parent.mkdir(exist_ok=True)
    (home / "data/logs" / name).write_text(text)


def looks(watched: Arrivals, clock: Clock, times: int, step: float = 5.0) -> list[bool]:
    said = []
    for _ in range(times):
        said.append(watched.are_due())
        clock.now += step
    return said


def test_files_are_due_when_the_folder_has_come_to_rest(home: Path) -> None:
    clock = Clock()
    watched = Arrivals(home, clock)
    assert looks(watched, clock, 2) == [False, False], "nothing has come"
    drop(home)
    assert looks(watched, clock, 2) == [False, False]
    drop(home, "another.csv")
    assert looks(watched, clock, 3) == [False, False, True]


def test_what_a_retrain_has_seen_is_not_due_again(home: Path) -> None:
    clock = Clock()
    watched = Arrivals(home, clock)
    drop(home)
    assert looks(watched, clock, 3)[-1]
    mark_seen(home, listing(home))
    assert not any(looks(watched, clock, 5))
    assert not any(looks(Arrivals(home, clock), clock, 5)), "a restart forgets nothing"
    drop(home, text="more rows")
    assert looks(watched, clock, 3)[-1]


def test_file_that_is_taken_away_is_a_change_too(home: Path) -> None:
    drop(home)
    mark_seen(home, listing(home))
    (home / "data/logs/day.csv").unlink()
    clock = Clock()
    assert looks(Arrivals(home, clock), clock, 3) == [False, False, True]


def test_folder_that_never_rests_is_taken_as_it_is_in_the_end(home: Path) -> None:
    clock = Clock()
    watched = Arrivals(home, clock)
    start, said = clock.now, False
    while not said:
        drop(home, text=f"{clock.now}")
        said = watched.are_due()
        clock.now += 5
    assert clock.now - start >= LONGEST_WAIT


def test_costly_look_is_repeated_less_often(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, walks = Clock(), []
    walk = os.walk

    def slow(*arguments, **options):
        clock.now += 2.0
        walks.append(clock.now)
        return walk(*arguments, **options)

    monkeypatch.setattr(os, "walk", slow)
    looks(Arrivals(home, clock), clock, 100, step=1.0)
    assert walks[1] - walks[0] >= 2.0 * COST


@pytest.mark.parametrize("name", [".hidden.csv", ".git/day.csv"])
def test_hidden_files_do_not_count(home: Path, name: str) -> None:
    drop(home, name)
    assert listing(home) == ""


def test_listing_tells_names_sizes_and_times_apart_and_nothing_else(home: Path) -> None:
    drop(home, "a.csv")
    drop(home, "b.csv")
    found = {listing(home)}
    (home / "data/logs/a.csv").rename(home / "data/logs/c.csv")
    found.add(listing(home))
    os.utime(home / "data/logs/c.csv", ns=(1, 1))
    found.add(listing(home))
    drop(home, "sub/a.csv")
    found.add(listing(home))
    assert len(found) == 4
    assert listing(home) in found


def test_folder_that_is_not_there_has_no_files(home: Path) -> None:
    (home / "data/logs").rmdir()
    assert listing(home) == seen(home) == ""


def test_wrong_settings_are_said(home: Path) -> None:
    (home / "params.yaml").write_text("data:\n  lgs: x\n")
    with pytest.raises(ConfigError):
        Arrivals(home).are_due()
