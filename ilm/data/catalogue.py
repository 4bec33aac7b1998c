"""The catalogue: one row per item index with its texts, and whether it may be recommended."""

import polars as pl

from ilm.data.schema import ITEMS, text_columns


def build_catalogue(item_ids: pl.DataFrame, items: pl.DataFrame, active: pl.Series) -> pl.DataFrame:
    """The table CATALOGUE.

    Args:
        item_ids: item map, indexes 0..n-1 in order.
        items: of step `ingest`; further items are ignored.
        active: ids of the items of this generation. Others (known from an earlier one, or dropped since) keep their
            row, with item_id as title if their text is gone, and are never recommended.
    """
    joined = item_ids.join(items, on="item_id", how="left", maintain_order="left", validate="1:1")
    return joined.select(
        "item_index",
        "item_id",
        pl.coalesce("title", "item_id").alias("title"),
        *text_columns(items, ITEMS),
        pl.col("item_id").is_in(active.unique().cast(pl.String).implode()).alias("active"),
    )
