"""A made-up interaction log of any length, with the skew of real ones: few users and items have most of it.

`python -m benchmarks.synthetic_log DIR --rows 25000000` writes `raw/` (the first hundredth, and the items) and `logs/`
(the rest, as files of a million rows), as a project with `data.source: folder` takes them. Items fall to ranks by a
Zipf law of exponent 0.9 and users are active by a log-normal law of sigma 1.2: the busiest hundredth of users has 12 %
of the log, the most popular hundredth of items 43 %. Nobody's taste is in it: it is for time and memory, never for
quality.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

FILE_ROWS = 1_000_000
ROWS_PER_USER = 150
ITEMS_PER_ROOT = 12
"""Items for every root of the rows: 60,000 at 25 million."""
SIGMA, EXPONENT = 1.2, 0.9
FIRST, DAYS = datetime(2022, 1, 1, tzinfo=UTC), 730


def write(folder: Path, rows: int, seed: int = 0) -> None:
    """Write a log of so many rows; equal arguments, equal files."""
    users, items = max(200, rows // ROWS_PER_USER), items_of(rows)
    rng = np.random.default_rng(seed)
    active, popular = rng.lognormal(0.0, SIGMA, users), np.arange(1, items + 1) ** -EXPONENT
    draw_users, draw_items = cumulated(active), cumulated(rng.permutation(popular))
    (folder / "raw").mkdir(parents=True)
    (folder / "logs").mkdir()
    words = pl.Series(["red", "green", "blue", "old", "new", "small", "large"])
    pl.DataFrame({"item_id": [f"i{n}" for n in range(items)]}).with_columns(
        title=pl.format("Thing {}", pl.int_range(pl.len())),
        kind=words.gather(pl.Series(rng.integers(0, len(words), items))),
    ).write_parquet(folder / "raw/items.parquet")
    done, number = 0, 0
    while done < rows:
        count = max(1, rows // 100) if not done else min(FILE_ROWS, rows - done)
        log = _rows(rng, count, (done, rows), draw_users, draw_items)
        log.write_parquet(folder / (f"logs/{number:05}.parquet" if done else "raw/interactions.parquet"))
        done, number = done + count, number + 1


def items_of(rows: int) -> int:
    """How many items a log of so many rows has."""
    return max(200, int(ITEMS_PER_ROOT * rows**0.5))


def cumulated(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights -> upper ends of their shares of 1, to be searched."""
    ends = weights.cumsum()
    out: NDArray[np.float64] = ends / ends[-1]
    return out


def _rows(
    rng: np.random.Generator,
    count: int,
    place: tuple[int, int],
    draw_users: NDArray[np.float64],
    draw_items: NDArray[np.float64],
) -> pl.DataFrame:
    done, rows = place
    second = 86_400 * DAYS / rows
    moments = FIRST.timestamp() + second * (done + np.sort(rng.random(count)) * count)
    user, item = (np.searchsorted(draw, rng.random(count)) for draw in (draw_users, draw_items))
    return pl.DataFrame({"user": user, "item": item, "timestamp": moments.astype(np.int64)}).select(
        user_id=pl.format("u{}", "user"), item_id=pl.format("i{}", "item"), timestamp="timestamp"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write(arguments.folder, arguments.rows, arguments.seed)
