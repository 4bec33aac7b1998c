"""A shop's two files, small and made up: names and forms as an export has them, none of ours."""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

KINDS = ("lamp", "chair", "desk", "mug", "rug", "clock")
ITEMS = 60


def orders(users: int = 60, length: int = 9) -> pl.DataFrame:
    """Every customer buys mostly of one kind, a few days apart, some begin late."""
    rows = [
        (
            f"c{user}",
            f"P{(user % 6 + 6 * ((user * 7 + n * n) % 10) + (n % 4 == 3)) % ITEMS:03}",
            datetime(2024, 1, 1) + timedelta(days=3 * user % 90 + 11 * n, minutes=user),
            1 + (user + n) % 3,
        )
        for user in range(users)
        for n in range(length)
    ]
    table = pl.DataFrame(rows, schema=["customer", "sku", "bought_at", "quantity"], orient="row")
    return table.sort("bought_at", "customer").with_row_index("order_no", offset=1)


def products() -> pl.DataFrame:
    """Sixty products with a name, a kind, a sentence and a price."""
    return pl.DataFrame(
        [
            (f"P{n:03}", f"{KINDS[n % 6].title()} No. {n}", KINDS[n % 6], f"A {KINDS[n % 6]} for room {n}.", 5.0 + n)
            for n in range(ITEMS)
        ],
        schema=["sku", "product_name", "kind", "blurb", "price"],
        orient="row",
    )


def write_shop(folder: Path, users: int = 60) -> tuple[Path, Path]:
    """orders.csv and products.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    orders(users).write_csv(folder / "orders.csv", datetime_format="%Y-%m-%d %H:%M:%S")
    products().write_csv(folder / "products.csv")
    return folder / "orders.csv", folder / "products.csv"
