"""The cheap sort gives what a sort by every column gives."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ilm.data.logs.ordering import distinct, in_order
from ilm.data.rules import CONTENT
from ilm.data.schema import INTERACTIONS

few = st.lists(
    st.tuples(
        *(st.sampled_from(["a", "b"]) for _ in range(2)),
        *(st.sampled_from([None, "a", "b"]) for _ in range(2)),
        st.sampled_from([None, 1.0, 2.0]),
    ),
    max_size=12,
)


@given(few)
def test_order_and_distinct_rows_are_those_of_polars(rows: list[tuple[object, ...]]) -> None:
    columns = ["user_id", "item_id", "event_type", "event_id", "rating"]
    frame = pl.DataFrame(rows, schema={name: INTERACTIONS[name] for name in columns}, orient="row")
    frame = frame.with_columns(timestamp=pl.lit(0).cast(INTERACTIONS["timestamp"]), order=pl.lit(None, pl.Int64))

    ordered = in_order(frame)

    assert ordered.equals(frame.sort(CONTENT, nulls_last=True))
    assert distinct(ordered).equals(ordered.unique(maintain_order=True))
