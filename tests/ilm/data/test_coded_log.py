"""The log with numbers for ids gives what the log with texts gives."""

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ilm.data.batches import Batches
from ilm.data.coded_log import CodedLog, Counts, code_log, count
from ilm.data.schema import INTERACTIONS, write_table
from ilm.data.split import what_counts, with_known_items
from ilm.errors import ArtifactError, DataError
from ilm.params import SplitParams
from tests.ilm.data.test_histories import log


@pytest.fixture
def interactions() -> pl.DataFrame:
    """400 rows, some at equal moments, some twice, one item in ten unknown."""
    rng = np.random.default_rng(0)
    users, items, moments = rng.integers(0, 30, 400), rng.integers(0, 20, 400), rng.integers(0, 60, 400)
    return log(*[(f"ü{u}", f"i{i}", int(m)) for u, i, m in zip(users, items, moments, strict=True)])


ITEMS = pl.DataFrame({"item_id": [f"i{n}" for n in range(18)], "title": [f"t{n}" for n in range(18)]})


def decoded(coded: CodedLog) -> pl.DataFrame:
    rows = pl.concat([*coded.batches("user", "item", "timestamp", "order")])
    ids = rows.select(user_id=coded.users.gather(rows["user"]), item_id=coded.items.gather(rows["item"]))
    return pl.concat([ids, rows.select("timestamp", "order")], how="horizontal")


@pytest.mark.parametrize("at_once", [7, 1000])
def test_it_says_what_the_texts_say(
    interactions: pl.DataFrame, tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ilm.data.coded_log._AT_ONCE", at_once)
    write_table(interactions, tmp_path / "told.parquet")
    coded, sizes = code_log(tmp_path / "told.parquet", ITEMS, tmp_path)

    known = with_known_items(interactions, ITEMS).select("user_id", "item_id", "timestamp", "order")
    assert sizes == count(interactions)
    assert decoded(coded).equals(known)
    assert decoded(CodedLog.of(known)).equals(known)
    assert len(known) < len(interactions)
    for ids, name in ((coded.users, "user_id"), (coded.items, "item_id")):
        assert ids.to_list() == sorted(set(known[name]))


@pytest.mark.parametrize("strategy", ["leave_one_out", "global_time"])
def test_the_same_counts_of_a_file_in_batches_and_of_a_table_in_memory(
    interactions: pl.DataFrame, tmp_path: Path, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ilm.data.coded_log.Batches", partial(Batches, rows=7))
    write_table(interactions, tmp_path / "told.parquet")
    params = SplitParams(strategy=strategy, min_user_interactions=12, min_item_interactions=3)
    of_file, _ = code_log(tmp_path / "told.parquet", ITEMS, tmp_path)
    of_table = CodedLog.of(with_known_items(interactions, ITEMS))
    assert len([*of_file.batches("user")]) > 50

    kept, expected = what_counts(of_file, params), what_counts(of_table, params)

    assert kept.cut == expected.cut
    for name in ("user_rows", "item_rows"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(expected, name))
    assert 0 < kept.counts.interactions < len(with_known_items(interactions, ITEMS))


def test_ids_take_four_bytes_or_less(interactions: pl.DataFrame, tmp_path: Path) -> None:
    write_table(interactions, tmp_path / "told.parquet")
    coded, _ = code_log(tmp_path / "told.parquet", ITEMS, tmp_path)
    for batch in coded.batches("user", "item"):
        assert all(kind.is_unsigned_integer() for kind in batch.dtypes)
        assert batch.estimated_size() <= 8 * len(batch)


def test_another_table_is_refused(tmp_path: Path) -> None:
    ITEMS.write_parquet(tmp_path / "told.parquet")
    with pytest.raises(ArtifactError, match="not the table it should be"):
        code_log(tmp_path / "told.parquet", ITEMS, tmp_path)
    with pytest.raises(ArtifactError, match="not found"):
        code_log(tmp_path / "none.parquet", ITEMS, tmp_path)


def test_a_full_disk_is_not_called_a_damaged_log(interactions: pl.DataFrame, tmp_path: Path) -> None:
    write_table(interactions, tmp_path / "told.parquet")
    (tmp_path / "log.parquet").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        code_log(tmp_path / "told.parquet", ITEMS, tmp_path)


def test_empty_log_has_no_rows(tmp_path: Path) -> None:
    write_table(pl.DataFrame(schema=dict(INTERACTIONS)), tmp_path / "empty.parquet")
    coded, sizes = code_log(tmp_path / "empty.parquet", ITEMS, tmp_path)

    assert sizes == Counts(0, 0, 0)
    for strategy in ("leave_one_out", "global_time"):
        with pytest.raises(DataError, match="No interactions are left of 0"):
            what_counts(coded, SplitParams(strategy=strategy))
