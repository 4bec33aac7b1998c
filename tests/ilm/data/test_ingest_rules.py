"""Good rows go on, bad ones to quarantine with a reason; too many bad ones stop the run."""

import json
import random
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilm.data.ingest import Ingested, ingest
from ilm.data.raw import ROW, RawTable, Source
from ilm.data.rules import INTERACTION_RULES, ITEM_RULES
from ilm.data.schema import INTERACTIONS, QUARANTINE
from ilm.errors import DataError

Rows = list[dict[str, object]]
GOOD = {"user_id": "u1", "item_id": "i1", "timestamp": "2020-01-01T00:00:00", "rating": "4", "event_id": "e0"}
ITEMS: Rows = [{"item_id": "i1", "title": "Heat"}, {"item_id": "i2", "title": "Ronin"}]


def table(name: str, rows: Rows, columns: dict[str, str] | None = None) -> RawTable:
    return RawTable(name, pl.DataFrame(rows, infer_schema_length=None).with_row_index(ROW, offset=1), columns or {})


def take(interactions: Rows, items: Rows = ITEMS, limit: float = 1.0) -> Ingested:
    return ingest(Source(table("interactions.csv", interactions), table("items.csv", items)), limit)


BROKEN_INTERACTIONS = {
    "user_id_missing": {"user_id": " "},
    "item_id_missing": {"item_id": None},
    "timestamp_unreadable": {"timestamp": "soon"},
    "rating_not_finite": {"rating": "nan"},
    "item_quarantined": {"item_id": "untitled"},
    "duplicate_event": {"timestamp": "2021-01-01", "event_id": "e0"},
}


@pytest.mark.parametrize("rule", BROKEN_INTERACTIONS)
def test_a_row_that_breaks_a_rule_goes_to_quarantine_and_the_others_go_on(rule: str) -> None:
    broken = GOOD | {"event_id": "e1", "timestamp": "2020-01-02"} | BROKEN_INTERACTIONS[rule]

    result = take([GOOD, broken], [*ITEMS, {"item_id": "untitled", "title": None}])

    assert len(result.interactions) == 1
    row = result.quarantine.filter(pl.col("table") == "interactions").row(0, named=True)
    meaning = {r.name: r.meaning for r in INTERACTION_RULES}[rule]
    assert (row["source"], row["row"], row["rule"], row["reason"]) == ("interactions.csv", 2, rule, meaning)
    assert json.loads(row["record"]) == broken


def test_every_rule_is_tried_above_or_by_name_below() -> None:
    tried = {*BROKEN_INTERACTIONS, "order_unreadable"}
    assert tried == {rule.name for rule in INTERACTION_RULES}
    assert [rule.name for rule in ITEM_RULES] == ["item_id_missing", "title_missing", "duplicate_item"]


def test_where_the_file_has_an_order_every_row_needs_one_and_no_timestamp() -> None:
    rows = [{"user_id": "u", "item_id": "i1", "order": order} for order in ("1", "2", "first")]

    result = take(rows)

    assert result.interactions["order"].to_list() == [1, 2]
    assert result.interactions["timestamp"].null_count() == 2
    assert result.quarantine["rule"].to_list() == ["order_unreadable"]


def test_without_event_id_the_same_user_item_time_and_type_is_one_event() -> None:
    row = {"user_id": "u", "item_id": "i1", "timestamp": 1_500_000_000, "event_type": "view"}
    result = take([row, row, row | {"event_type": "buy"}, row | {"timestamp": 1_500_000_001}])

    assert len(result.interactions) == 3
    assert result.quarantine.select("row", "rule").rows() == [(2, "duplicate_event")]


def test_item_rows_that_break_rules_go_to_quarantine() -> None:
    items = [*ITEMS, {"item_id": None, "title": "x"}, {"item_id": "i3", "title": " "}, ITEMS[0]]

    result = take([GOOD], items)

    assert result.items.rows() == [("i1", "Heat"), ("i2", "Ronin")]
    assert result.quarantine.select("row", "rule").rows() == [
        (3, "item_id_missing"),
        (4, "title_missing"),
        (5, "duplicate_item"),
    ]


def test_interactions_stay_when_another_row_of_their_item_is_good() -> None:
    assert len(take([GOOD], [*ITEMS, {"item_id": "i1", "title": None}]).interactions) == 1


def test_an_item_described_in_two_ways_is_an_error_that_names_rows_and_columns() -> None:
    with pytest.raises(DataError, match="item_id i1, rows 1 and 3 differ in title"):
        take([GOOD], [*ITEMS, {"item_id": "i1", "title": "Heat 2"}])


def test_unknown_items_and_impossible_moments_are_left_to_the_gate() -> None:
    result = take([GOOD, GOOD | {"item_id": "unknown", "event_id": "e1", "timestamp": "1066-10-14"}])

    assert len(result.interactions) == 2 and result.quarantine.is_empty()


def test_too_many_bad_rows_stop_the_run_and_name_the_worst_rules() -> None:
    rows = [GOOD | {"event_id": f"e{n}"} for n in range(8)]
    rows += [GOOD | {"event_id": "e8", "user_id": None}, GOOD | {"event_id": "e9", "user_id": None}, GOOD]

    with pytest.raises(
        DataError, match=r"3 of 11 rows \(27.3%\).*user_id_missing 2 \(first: row 9\); duplicate_event 1"
    ):
        take(rows, limit=0.25)
    assert len(take(rows, limit=0.28).interactions) == 8


def test_bad_items_are_counted_on_their_own() -> None:
    with pytest.raises(DataError, match=r"items\.csv \(items\): 1 of 3 rows"):
        take([GOOD] * 100, [*ITEMS, {"item_id": "i3", "title": None}], limit=0.3)


def test_no_usable_row_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="none of 1 rows can be used"):
        take([GOOD | {"user_id": None}])


def test_text_columns_are_kept_by_name_and_nested_ones_are_left_out_with_a_note() -> None:
    items = [{"title": "Heat", "year": 1995, "genres": ["Action", "Crime"], "item_id": 7, "images": [{"url": "x"}]}]

    result = take([GOOD], items)

    assert result.items.to_dicts() == [{"item_id": "7", "title": "Heat", "genres": "Action, Crime", "year": "1995"}]
    assert result.notes == ["items.csv: left out, because nested or binary and so no text: images."]


def test_item_columns_that_the_pipeline_needs_itself_are_refused() -> None:
    with pytest.raises(DataError, match="the column name active is needed by the pipeline"):
        take([GOOD], [item | {"active": "yes"} for item in ITEMS])


def test_titles_of_a_wrong_type_are_refused() -> None:
    with pytest.raises(DataError, match=r"items\.csv, column title: titles must be text"):
        take([GOOD], [{"item_id": "i1", "title": {"en": "Heat"}}])


def test_a_result_has_the_columns_of_the_contract() -> None:
    result = take([GOOD])

    assert dict(result.interactions.schema) == dict(INTERACTIONS)
    assert dict(result.quarantine.schema) == dict(QUARANTINE)
    assert result.interactions.row(0)[:5] == ("u1", "i1", datetime(2020, 1, 1, tzinfo=UTC), None, 4.0)


def test_raw_values_that_json_cannot_express_are_kept_as_text() -> None:
    row = {"user_id": None, "item_id": "i1", "timestamp": datetime(2020, 1, 1), "rating": float("nan"), "raw": b"x"}

    record = json.loads(take([row, row | {"user_id": "u", "rating": 1.0}]).quarantine["record"][0])

    assert record["timestamp"] == "2020-01-01 00:00:00" and record["rating"] == "nan"


messy_rows = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.sampled_from(["u1", "u2", None, " "]),
            "item_id": st.sampled_from(["i1", "i2", "gone", None]),
            "timestamp": st.sampled_from(["1500000000", "1500000001", "soon", None]),
            "rating": st.sampled_from(["1", "2", "bad", None]),
            "event_type": st.sampled_from(["view", "buy", None]),
            "event_id": st.sampled_from(["a", "b", None]),
        }
    ),
    min_size=1,
    max_size=25,
)


@given(messy_rows, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_rows_in_the_file_does_not_matter(rows: Rows, shuffler: random.Random) -> None:
    good = {"timestamp": "1400000000", "rating": "1", "event_type": None, "event_id": None}
    rows = [{"user_id": "u3", "item_id": "i2"} | good, *rows]
    items = [*ITEMS, {"item_id": "gone", "title": None}, ITEMS[1]]
    first = take(rows, items)

    shuffler.shuffle(rows)
    shuffler.shuffle(items)
    again = take(rows, items)

    assert first.interactions.equals(again.interactions)
    assert first.items.equals(again.items)
    assert first.quarantine["rule"].sort().equals(again.quarantine["rule"].sort())
    assert len(first.interactions) + first.quarantine.filter(table="interactions").height == len(rows)


def test_a_second_delivery_of_the_same_log_changes_nothing() -> None:
    rows = [GOOD, GOOD | {"event_id": "e1", "item_id": "i2"}]

    assert take(rows).interactions.equals(take(rows + rows).interactions)
