"""Settings follow the sizes; too little data, and catalogues of another shop, are refused."""

from typing import Any

import polars as pl
import pytest

from ilm.data.chosen_settings import choose
from ilm.data.ingest import Ingested, ingest
from ilm.data.raw import ROW, RawTable, Source
from ilm.errors import DataError
from tests.small_shop import orders, products


def ingested(log: pl.DataFrame, items: pl.DataFrame) -> Ingested:
    columns = {"user_id": "customer", "item_id": "sku", "timestamp": "bought_at"}
    tables = [table.with_row_index(ROW, offset=1) for table in (log, items)]
    return ingest(
        Source(
            RawTable("o", tables[0], columns), RawTable("p", tables[1], {"item_id": "sku", "title": "product_name"})
        ),
        1.0,
    )


def chosen(log: pl.DataFrame, items: pl.DataFrame | None = None) -> dict[str, Any]:
    tables = ingested(log, products() if items is None else items)
    return {choice.setting: choice.value for choice in choose(tables.interactions, tables.items)[0]}


def test_limits_are_half_of_what_is_there() -> None:
    settings = chosen(orders(users=70))
    assert settings["validate.min_users"] == 35
    assert settings["validate.min_items"] == 30
    assert settings["validate.min_interactions"] == 310  # of 630, to two digits


def test_log_is_cut_by_time_where_enough_users_go_on_afterwards() -> None:
    assert chosen(orders(users=60))["split.strategy"] == "leave_one_out"
    assert chosen(orders(users=700, length=12))["split.strategy"] == "global_time"


def test_without_timestamps_nothing_is_cut_by_time() -> None:
    log = orders(users=700).with_columns(order=pl.int_range(pl.len()), bought_at=None)
    assert chosen(log)["split.strategy"] == "leave_one_out"


def test_small_logs_get_short_vectors() -> None:
    assert chosen(orders())["cf.factors"] == 16


def test_sparse_logs_get_a_lower_core() -> None:
    settings = chosen(orders(users=90, length=4))
    assert (settings["split.min_user_interactions"], settings["split.min_item_interactions"]) == (3, 3)


def test_unknown_items_are_allowed_as_far_as_there_are_some() -> None:
    assert "validate.max_unknown_item_fraction" not in chosen(orders())
    assert 0 < chosen(orders(), products()[:-3])["validate.max_unknown_item_fraction"] <= 0.2


def test_catalogue_that_lacks_many_items_is_refused() -> None:
    with pytest.raises(DataError, match=r"of the interactions are with items that the items file does not have"):
        chosen(orders(), products()[:30])


def test_log_that_is_too_small_is_refused() -> None:
    with pytest.raises(DataError, match="too few"):
        chosen(orders(users=3, length=2))


def test_old_log_moves_the_earliest_moment() -> None:
    log = orders().with_columns(pl.col("bought_at").dt.offset_by("-39y"))
    assert chosen(log)["validate.earliest"] == "1985-01-01"
