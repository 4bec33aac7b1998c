"""What a batch of new log files is, and what it is compared with."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilm.data.logs.batch import Accepted, Batch, accept, batch_to_judge, distance, missing_change, read_accepted
from ilm.errors import ArtifactError
from tests.log_drops import CATALOGUE, Drops, event


@pytest.fixture
def drops(tmp_path: Path) -> Drops:
    return Drops(tmp_path)


def judge(
    drops: Drops, accepted: Accepted, users: Sequence[str] = (), min_rows: int = 1
) -> tuple[Batch | None, Batch | None]:
    store = drops.update().store
    return batch_to_judge(store, accepted, pl.Series(CATALOGUE), pl.Series(users, dtype=pl.String), min_rows)


def test_without_log_files_there_is_nothing_to_judge(drops: Drops) -> None:
    assert judge(drops, Accepted()) == (None, None)


def test_new_files_are_one_batch_compared_with_the_accepted_one_before(drops: Drops) -> None:
    drops.drop("a.csv", [event("u1"), event("u2", "i9"), event("")])
    first, before = judge(drops, Accepted(), ["u2"])
    assert first is not None and before is None
    assert (first.rows, first.bad, first.users, first.known_users, first.items, first.known_items) == (2, 1, 2, 1, 2, 1)
    accepted = accept(Accepted(), first, 2)

    drops.drop("b.csv", [event("u1", "i2"), event("u3")])
    drops.drop("c.csv", [event("u4")])
    second, before = judge(drops, accepted, ["u2"])

    assert before == first
    assert second is not None
    assert (len(second.files), second.rows, second.users, second.known_users) == (2, 3, 3, 1)


def test_judging_again_judges_the_same(drops: Drops) -> None:
    accepted = Accepted()
    for name in ("a.csv", "b.csv"):
        drops.drop(name, [event(name)])
        judged = judge(drops, accepted)
        accepted = accept(accepted, judged[0], 1)

        assert judge(drops, accepted) == judged
        assert accept(accepted, judged[0], 1) == accepted


def test_a_batch_that_was_not_accepted_stays_in_the_next_one(drops: Drops) -> None:
    drops.drop("a.csv", [event()])
    judge(drops, Accepted())
    drops.drop("b.csv", [event("u2")])

    batch, _ = judge(drops, Accepted())

    assert batch is not None and len(batch.files) == 2


def test_a_tiny_batch_is_no_measure_for_the_next_one(drops: Drops) -> None:
    accepted = Accepted()
    for name, rows in {"a.csv": 5, "b.csv": 1}.items():
        drops.drop(name, [event(f"{name}{n}") for n in range(rows)])
        accepted = accept(accepted, judge(drops, accepted)[0], rows)
    drops.drop("c.csv", [event("c")])

    _, before = judge(drops, accepted, min_rows=2)

    assert before is not None and before.rows == 5


def test_distances_by_hand() -> None:
    assert distance({"view": 3, "buy": 1}, {"view": 1, "buy": 1}) == 0.25
    assert distance({"view": 1}, {"buy": 9}) == 1.0
    assert distance({}, {"view": 1}) == 1.0
    assert distance({}, {}) == 0.0


histograms = st.dictionaries(st.integers(0, 5), st.integers(1, 100), min_size=1)


@given(histograms, histograms, histograms)
def test_the_distance_is_one(left, middle, right) -> None:
    assert 0 <= distance(left, right) <= 1 + 1e-9
    assert distance(left, right) == pytest.approx(distance(right, left))
    assert distance(left, {key: 7 * count for key, count in left.items()}) == pytest.approx(0)
    assert distance(left, right) <= distance(left, middle) + distance(middle, right) + 1e-9


def test_the_change_of_missing_values_is_that_of_the_worst_column(drops: Drops) -> None:
    drops.drop("a.csv", [event(rating="1", event_id="a"), event(rating="2", event_id=None)])
    first, _ = judge(drops, Accepted())
    drops.drop("b.csv", [event(rating="1", event_type="view")])
    second, _ = judge(drops, accept(Accepted(), first, 2))
    assert first is not None and second is not None

    assert missing_change(first, second) == 1.0, "no row had an event_type, now each has one"


def test_what_was_accepted_is_read_back_and_damage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "accepted.json"
    assert read_accepted(path) == Accepted()
    path.write_text('{"batches": 1}')
    with pytest.raises(ArtifactError, match="damaged"):
        read_accepted(path)
