"""The log with numbers for ids gives what the log with texts gives."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ilm.data.coded_log import read_coded
from ilm.data.schema import INTERACTIONS, write_table
from ilm.data.split import Counts, count, what_counts, with_known_items
from ilm.errors import ArtifactError
from ilm.params import SplitParams
from tests.ilm.data.test_histories import log


@pytest.fixture
def interactions() -> pl.DataFrame:
    """400 rows, some at equal moments, some twice, one item in ten unknown."""
    rng = np.random.default_rng(0)
    users, items, moments = rng.integers(0, 30, 400), rng.integers(0, 20, 400), rng.integers(0, 60, 400)
    return log(*[(f"ü{u}", f"i{i}", int(m)) for u, i, m in zip(users, items, moments, strict=True)])


ITEMS = pl.DataFrame({"item_id": [f"i{n}" for n in range(18)], "title": [f"t{n}" for n in range(18)]})


@pytest.mark.parametrize("strategy", ["leave_one_out", "global_time"])
def test_what_counts_of_it_is_what_counts_of_the_texts(
    interactions: pl.DataFrame, tmp_path: Path, strategy: str
) -> None:
    write_table(interactions, tmp_path / "log.parquet")
    params = SplitParams(strategy=strategy, min_user_interactions=12, min_item_interactions=3)
    coded, sizes = read_coded(tmp_path / "log.parquet", ITEMS)
    kept, of_texts = (what_counts(rows, params) for rows in (coded, with_known_items(interactions, ITEMS)))

    assert sizes == count(interactions)
    assert len(kept) < len(coded) < len(interactions)
    assert kept.cast({"user_id": pl.String, "item_id": pl.String}).equals(of_texts.select(kept.columns))


def test_ids_take_four_bytes(interactions: pl.DataFrame, tmp_path: Path) -> None:
    write_table(interactions, tmp_path / "log.parquet")
    coded, _ = read_coded(tmp_path / "log.parquet", ITEMS)
    assert coded["user_id"].to_physical().dtype.is_integer()
    assert coded.select("user_id", "item_id").estimated_size() <= 8 * len(coded) * 1.1


def test_another_table_is_refused(tmp_path: Path) -> None:
    ITEMS.write_parquet(tmp_path / "log.parquet")
    with pytest.raises(ArtifactError, match="not the table it should be"):
        read_coded(tmp_path / "log.parquet", ITEMS)
    with pytest.raises(ArtifactError, match="not found"):
        read_coded(tmp_path / "none.parquet", ITEMS)


def test_empty_log_has_no_rows(tmp_path: Path) -> None:
    write_table(pl.DataFrame(schema=dict(INTERACTIONS)), tmp_path / "log.parquet")
    coded, sizes = read_coded(tmp_path / "log.parquet", ITEMS)
    assert coded.is_empty()
    assert sizes == Counts(0, 0, 0)
