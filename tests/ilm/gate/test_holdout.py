"""The fresh holdout against one written down by hand, and against a slow one in plain Python."""

from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ilm.errors import ArtifactError, DataError
from ilm.gate.holdout import Holdout, fresh_holdout
from tests.ilm.gate.conftest import CUT, event, gate, write_log


def said(holdout: Holdout) -> dict[str, tuple[list[str], str]]:
    """user -> history and target, by id."""
    names = holdout.item_ids
    rows = zip(holdout.user, holdout.seen, holdout.targets, strict=True)
    return {holdout.users[user]: ([names[item] for item in seen], names[target]) for user, seen, target in rows}


def asked(holdout: Holdout) -> list[tuple[str, str, str]]:
    """User, history and target of each case; items have one letter."""
    names = holdout.item_ids
    rows = zip(holdout.user, holdout.seen, holdout.targets, strict=True)
    return [(holdout.users[user], "".join(names[item] for item in seen), names[target]) for user, seen, target in rows]


def test_history_before_the_cut_and_first_item_after_it(tmp_path: Path) -> None:
    log = write_log(
        tmp_path / "log.parquet",
        [
            event("back", "c", 2), event("back", "b", -1), event("back", "a", -2), event("back", "d", 3),
            event("gone", "a", -1), event("gone", "b", 0),
            event("new", "a", 1),
            event("again", "a", -1), event("again", "a", 1),
        ],
    )  # fmt: skip
    holdout = fresh_holdout(log, CUT, gate(max_cases=10))
    assert said(holdout) == {"again": (["a"], "a"), "back": (["a", "b"], "c")}
    assert dict(zip(holdout.item_ids, holdout.met.tolist(), strict=True)) == {"a": 3, "b": 2, "c": 0}
    assert (holdout.eligible, holdout.newcomers, holdout.left_out) == (2, 0, 1)
    assert holdout.until == CUT + timedelta(days=3)


@pytest.mark.parametrize(("shown", "expected"), [(1, (["a"], "b")), (2, (["a", "b"], "c")), (3, None), (0, None)])
def test_of_a_newcomer_the_first_items_are_shown_and_the_next_is_asked_for(
    tmp_path: Path, shown: int, expected: tuple[list[str], str] | None
) -> None:
    log = write_log(tmp_path / "log.parquet", [event("new", item, day) for day, item in enumerate("abc", 1)])
    holdout = fresh_holdout(log, CUT, gate(newcomer_history=shown))
    assert said(holdout) == ({} if expected is None else {"new": expected})
    assert (holdout.newcomers, holdout.left_out) == ((0, 1) if expected is None else (1, 0))
    assert holdout.met.tolist() == [0] * len(holdout.item_ids)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"targets": 1}, "back ab c, new a b"),
        ({"targets": 2}, "back ab c, back abc d, new a b, new ab c"),
        ({"targets": 9, "max_cases": 4}, "back ab c, back abc d, new a b, new ab c"),
        ({"targets": 9, "max_cases": 3}, "back ab c, new a b"),
        ({"targets": 9}, "back ab c, back abc d, back abcd a, new a b, new ab c"),
    ],
)
def test_further_fresh_items_are_asked_for_one_after_another_as_far_as_the_budget_goes(
    tmp_path: Path, settings: dict[str, int], expected: str
) -> None:
    events = [event("back", item, day) for item, day in (("a", -2), ("b", -1), ("c", 1), ("d", 2), ("a", 3))]
    events += [event("new", item, day) for item, day in (("a", 1), ("b", 2), ("c", 3))]
    log = write_log(tmp_path / "log.parquet", events)
    holdout = fresh_holdout(log, CUT, gate(newcomer_history=1, **settings))
    assert ", ".join(" ".join(case) for case in asked(holdout)) == expected


def test_the_moment_of_the_cut_itself_is_not_fresh(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.parquet", [event("u", "a", -1), event("u", "b", 0)])
    assert fresh_holdout(log, CUT, gate(max_cases=10)).users == []


def test_an_empty_log_is_an_empty_holdout(tmp_path: Path) -> None:
    holdout = fresh_holdout(write_log(tmp_path / "log.parquet", []), CUT, gate(max_cases=10))
    assert (holdout.users, holdout.until, len(holdout.seen)) == ([], None, 0)


def test_of_too_many_users_some_are_drawn_and_others_with_another_cut(tmp_path: Path) -> None:
    log = write_log(
        tmp_path / "log.parquet", [event(f"u{user:03}", "a", day) for user in range(100) for day in (-3.0, 3.0)]
    )
    first, again = fresh_holdout(log, CUT, gate(max_cases=10)), fresh_holdout(log, CUT, gate(max_cases=10))
    later = fresh_holdout(log, CUT + timedelta(days=1), gate(max_cases=10))
    assert len(first.users) == 10 and first.eligible == 100
    assert list(first.users) == sorted(first.users) == list(again.users)
    assert set(first.users) != set(later.users)


def test_digest_tells_holdouts_apart(tmp_path: Path) -> None:
    events = [event("u", "a", -1), event("u", "b", 1), event("v", "a", -2), event("v", "c", 1)]
    digests = {
        fresh_holdout(write_log(tmp_path / "log.parquet", rows), cut, gate(max_cases=10)).sha256
        for rows in (events, events[:2], [*events[:3], event("v", "d", 1)], [event("v", "a", -3), *events])
        for cut in (CUT, CUT + timedelta(minutes=1))
    }
    assert len(digests) == 8


def test_an_interaction_without_a_timestamp_is_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.parquet", [event("u", "a", -1) | {"timestamp": None, "order": 1}])
    with pytest.raises(DataError, match="1 interactions have no timestamp"):
        fresh_holdout(log, CUT, gate(max_cases=10))


def test_a_missing_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nowhere\.parquet"):
        fresh_holdout(tmp_path / "nowhere.parquet", CUT, gate(max_cases=10))


def test_a_truncated_log_is_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.parquet", [event("u", "a", -1)])
    log.write_bytes(log.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match=r"log\.parquet: not readable"):
        fresh_holdout(log, CUT, gate(max_cases=10))


def test_a_log_with_another_type_is_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.parquet", [event("u", "a", -1)])
    pl.read_parquet(log).with_columns(pl.col("timestamp").dt.epoch()).write_parquet(log)
    with pytest.raises(ArtifactError, match="timestamp should be"):
        fresh_holdout(log, CUT, gate(max_cases=10))


NEWCOMER = 2


def oracle(events: list[dict[str, Any]]) -> dict[str, tuple[int, set[str]]]:
    """user -> how many items are shown, and those that may be the target: all of the moment that is asked for."""
    of_user: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in events:
        of_user[one["user_id"]].append(one)
    found = {}
    for user, mine in of_user.items():
        times = sorted(one["timestamp"] for one in mine)
        shown = sum(time <= CUT for time in times) or NEWCOMER
        if shown < len(times):
            found[user] = (shown, {one["item_id"] for one in mine if one["timestamp"] == times[shown]})
    return found


EVENTS = st.lists(st.builds(event, st.sampled_from("uvwx"), st.sampled_from("abcde"), st.integers(-3, 3)), max_size=25)


@given(EVENTS, st.randoms(use_true_random=False))
@hypothesis_settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cases_are_those_of_plain_python_whatever_the_order_of_rows(
    tmp_path: Path, events: list[dict[str, Any]], random: Any
) -> None:
    settings = gate(newcomer_history=NEWCOMER)
    holdout = fresh_holdout(write_log(tmp_path / "log.parquet", events), CUT, settings)
    expected = oracle(events)
    assert list(holdout.users) == sorted(expected)
    for user, (history, target) in said(holdout).items():
        assert len(history) == expected[user][0] and target in expected[user][1]
        assert set(history) <= {one["item_id"] for one in events if one["user_id"] == user}
    random.shuffle(events)
    assert fresh_holdout(write_log(tmp_path / "log.parquet", events), CUT, settings).sha256 == holdout.sha256
