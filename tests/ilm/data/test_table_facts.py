"""Facts about a table that comes in portions, against those of the whole."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilm.data import table_facts
from ilm.data.table_facts import TableFacts

START = datetime(2024, 1, 1, tzinfo=UTC)
ids = st.none() | st.sampled_from([f"x{n}" for n in range(9)])
rows = st.lists(st.tuples(ids, ids, st.none() | st.integers(0, 50)), max_size=30)


def frame(content: list[tuple[str | None, str | None, int | None]]) -> pl.DataFrame:
    kinds = {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Datetime("us", "UTC")}
    moments = [(u, i, None if t is None else START + timedelta(seconds=t)) for u, i, t in content]
    return pl.DataFrame(moments, schema=kinds, orient="row")


@given(rows, st.integers(1, 7))
def test_facts_of_portions_are_those_of_the_whole(content: list[tuple], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_facts, "_WAITING_IDS", 4)
        facts, table = TableFacts(), frame(content)
        for portion in table.iter_slices(size):
            facts.add(portion)

    assert facts.frame().to_dicts() == [
        {
            "rows": len(table),
            "users": table["user_id"].drop_nulls().n_unique(),
            "items": table["item_id"].drop_nulls().n_unique(),
            "newest": table["timestamp"].max(),
        }
    ]
