"""The catalogue has a row for every index; only items of this generation may be recommended."""

import polars as pl

from ilm.data.catalogue import build_catalogue
from ilm.data.schema import ITEM_IDS


def test_a_catalogue_has_texts_and_knows_what_is_active() -> None:
    item_ids = pl.DataFrame({"item_index": [0, 1, 2], "item_id": ["b", "gone", "a"]}, schema=ITEM_IDS)
    items = pl.DataFrame({"item_id": ["a", "b", "c"], "title": ["A", "B", "C"], "genres": ["x", None, "z"]})

    catalogue = build_catalogue(item_ids, items, pl.Series(["a", "a"]))

    assert catalogue.columns == ["item_index", "item_id", "title", "genres", "active"]
    assert catalogue.rows() == [
        (0, "b", "B", None, False),
        (1, "gone", "gone", None, False),
        (2, "a", "A", "x", True),
    ]
