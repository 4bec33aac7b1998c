"""Source and logs as one table, and what has to wait."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from ilm.data.schema import INTERACTIONS, write_table
from ilm.errors import DataError
from tests.log_drops import CATALOGUE, Drops, event

TIME = datetime(2024, 5, 1, 10, tzinfo=UTC)


@pytest.fixture
def drops(tmp_path: Path) -> Drops:
    return Drops(tmp_path)


def base(**columns: list[object]) -> pl.DataFrame:
    good: dict[str, list[object]] = {"user_id": ["u1"], "item_id": ["i1"], "timestamp": [TIME]}
    rows = len((good | columns)["user_id"])
    values = {name: (good | columns).get(name, [None] * rows) for name in INTERACTIONS}
    return pl.DataFrame(values, schema=dict(INTERACTIONS))


def test_events_of_unknown_items_wait_until_the_catalogue_knows_them(drops: Drops) -> None:
    drops.drop("a.csv", [event(item="i1"), event(item="i9")])
    updated = drops.update()

    accepted, kept_aside, counts = drops.merged(updated)
    assert (accepted["item_id"].to_list(), kept_aside["item_id"].to_list()) == (["i1"], ["i9"])
    assert (counts.accepted, counts.kept_aside) == (1, 1)

    accepted, kept_aside, _ = drops.merged(drops.update(), catalogue=[*CATALOGUE, "i9"])
    assert (accepted["item_id"].to_list(), kept_aside["item_id"].to_list()) == (["i1", "i9"], [])


def test_of_one_event_id_on_two_days_the_first_counts_whichever_came_first(drops: Drops) -> None:
    late = event(time="2024-05-09T00:00:00", event_id="e")
    drops.drop("a.csv", [late])
    assert drops.merged(drops.update())[0]["timestamp"].dt.day().to_list() == [9]

    drops.drop("b.csv", [event(event_id="e")])
    accepted, _, counts = drops.merged(drops.update())

    assert accepted["timestamp"].dt.day().to_list() == [1]
    assert counts.duplicates == 1


def test_an_event_that_the_source_has_too_counts_once(drops: Drops) -> None:
    drops.drop("a.csv", [event(), event("u2")])

    accepted, _, counts = drops.merged(drops.update(), base())

    assert accepted["user_id"].to_list() == ["u1", "u2"]
    assert counts.duplicates == 1


@pytest.mark.parametrize(
    ("columns", "what"), [({"order": [1]}, "a column order"), ({"timestamp": [None]}, "without a timestamp")]
)
def test_a_source_that_knows_no_time_and_logs_cannot_be_joined(
    drops: Drops, columns: dict[str, list[object]], what: str
) -> None:
    drops.drop("a.csv", [event()])
    updated = drops.update()

    with pytest.raises(DataError, match=what):
        drops.merged(updated, base(**columns))
    assert not (drops.root / "interactions.parquet").exists()


def test_without_log_files_the_source_may_have_an_order_only(drops: Drops) -> None:
    only = base(timestamp=[None], order=[1])

    assert drops.merged(drops.update(), only)[0].equals(only)


def test_without_log_files_the_source_is_written_sorted_by_user(drops: Drops) -> None:
    source = base(user_id=["u2", "u1"], item_id=["i1", "i1"], timestamp=[TIME, TIME.replace(hour=11)])
    drops.merged(drops.update(), source)

    write_table(source.reverse(), drops.root / "expected.parquet")

    assert (drops.root / "interactions.parquet").read_bytes() == (drops.root / "expected.parquet").read_bytes()
    assert pl.read_parquet(drops.root / "kept_aside.parquet").is_empty()


def test_a_growing_source_needs_no_new_store(drops: Drops) -> None:
    drops.drop("a.csv", [event("u2")])
    drops.update()

    updated = drops.update()

    assert updated.rewritten == []
    assert len(drops.merged(updated, base())[0]) == 2
