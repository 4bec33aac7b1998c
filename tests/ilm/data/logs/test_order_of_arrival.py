"""Whatever arrives, in whatever order, form and company: the table is the one that a few lines of Python find."""

import random
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilm.data.logs import blocks, spill, text_blocks, update
from ilm.data.schema import INTERACTIONS
from tests.log_drops import CATALOGUE, NOW, Drops, event

rows = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["u1", "u2", ""]),
        "item_id": st.sampled_from([*CATALOGUE, "new"]),
        "timestamp": st.sampled_from(
            ["2024-04-30T23:59:59", "2024-05-01T00:00:00", "2024-05-01T10:00:00", "2024-05-07T10:00:00", "soon",
             "2030-01-01T00:00:00", "1970-01-01T00:00:00"]
        ),
        "rating": st.sampled_from(["1", "2", None]),
        "event_type": st.sampled_from(["view", "buy", None]),
        "event_id": st.sampled_from(["a", "b", "c", None, None]),
    }
)  # fmt: skip
contents = st.lists(st.lists(rows, min_size=1, max_size=6), min_size=1, max_size=5)
FORMS = ("csv", "jsonl", "parquet", "csv.gz", "jsonl.gz")


@pytest.fixture(autouse=True, scope="module")
def small_sizes():
    """So small that every border between blocks, runs and chunks is crossed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_blocks, "BLOCK_BYTES", 90)
        patch.setattr(blocks, "BLOCK_ROWS", 2)
        patch.setattr(spill, "RUN_ROWS", 3)
        patch.setattr(spill, "BATCH_ROWS", 2)
        patch.setattr(update, "CHUNK_ROWS", 2)
        yield


def oracle(files: Sequence[Sequence[dict[str, Any]]], base: Sequence[tuple[Any, ...]] = ()) -> list[tuple[Any, ...]]:
    """What the merged table must be, in the order of INTERACTIONS."""
    distinct = set(base)
    for row in (row for file in files for row in file):
        try:
            time = datetime.fromisoformat(row["timestamp"] + "+00:00")
        except ValueError:
            continue
        if row["user_id"] and row["item_id"] in CATALOGUE and datetime(1990, 1, 1, tzinfo=NOW.tzinfo) <= time <= NOW:
            rating = None if row["rating"] is None else float(row["rating"])
            distinct.add((row["user_id"], row["item_id"], time, None, rating, row["event_id"], row["event_type"]))

    def place(row: tuple[Any, ...]) -> tuple[Any, ...]:
        user, item, time, _, rating, event_id, event_type = row
        return (
            time,
            user,
            item,
            *((value is None, value or "") for value in (event_type, rating and str(rating), event_id)),
        )

    table, told = [], set()
    for row in sorted(distinct, key=place):
        user, item, time, _, _, event_id, event_type = row
        key = event_id or (user, item, time, event_type)
        if key not in told:
            told.add(key)
            table.append(row)
    return table


@given(contents, st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_files_in_any_order_and_form_give_the_same_table_byte_for_byte(files, chance: random.Random) -> None:
    with TemporaryDirectory() as first, TemporaryDirectory() as second:
        at_once, one_by_one = Drops(Path(first)), Drops(Path(second))
        forms = [chance.choice(FORMS) for _ in files]
        for number, (content, form) in enumerate(zip(files, forms, strict=True)):
            at_once.drop(f"{number}.{form}", content)
        updated = at_once.update()
        found, _, _ = at_once.merged(updated)
        assert found.rows() == oracle(files)
        assert dict(found.schema) == dict(INTERACTIONS)

        order = list(enumerate(zip(files, forms, strict=True)))
        chance.shuffle(order)
        for number, (content, form) in order:
            one_by_one.drop(f"{number}.{form}", content)
            if chance.random() < 0.7:
                one_by_one.update()
            if chance.random() < 0.3:  # the same file again, under another name
                one_by_one.drop(f"again/{number}.{form}", content)
        last = one_by_one.update()
        one_by_one.merged(last)
        assert one_by_one.bytes() == at_once.bytes()
        table, kept = "interactions.parquet", "kept_aside.parquet"
        for name in (table, kept):
            assert (one_by_one.root / name).read_bytes() == (at_once.root / name).read_bytes()


@given(contents, st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_files_that_go_take_their_rows_along_and_nothing_else(files, chance: random.Random) -> None:
    with TemporaryDirectory() as first, TemporaryDirectory() as second:
        changing, clean = Drops(Path(first)), Drops(Path(second))
        paths = [changing.drop(f"{number}.csv", content) for number, content in enumerate(files)]
        changing.update()
        staying = [number for number in range(len(files)) if chance.random() < 0.5]
        for number, path in enumerate(paths):
            if number not in staying:
                path.unlink()
        for number in staying:
            clean.drop(f"{number}.csv", files[number])

        found, _, _ = changing.merged(changing.update())

        assert found.rows() == oracle([files[number] for number in staying])
        clean.update()
        assert changing.bytes() == clean.bytes()


@given(contents, st.integers(min_value=0, max_value=4))
@settings(max_examples=10, deadline=None)
def test_rows_of_the_source_and_of_logs_are_one_table(files, cut: int) -> None:
    good = [row for row in (row for file in files for row in file) if oracle([[row]])]
    source = oracle([good[:cut]])
    base = pl.DataFrame(source, schema=dict(INTERACTIONS), orient="row")
    with TemporaryDirectory() as folder:
        drops = Drops(Path(folder))
        for number, content in enumerate(files):
            drops.drop(f"{number}.jsonl", content)

        found, _, counts = drops.merged(drops.update(), base)

        assert found.rows() == oracle(files, source)
        assert counts.accepted == len(found)


def test_the_oracle_itself_drops_what_is_told_twice() -> None:
    row = event(rating="2", event_type=None, event_id=None)
    assert [found[4] for found in oracle([[row, row | {"rating": "1"}], [row]])] == [1.0]
