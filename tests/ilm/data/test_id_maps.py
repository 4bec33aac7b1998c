"""An id keeps its index for ever; a damaged map is refused rather than renumbered."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilm.data.id_maps import extend, read_previous
from ilm.data.schema import ITEM_IDS, USER_IDS, Schema, write_table
from ilm.errors import ArtifactError

EMPTY = pl.DataFrame(schema=ITEM_IDS)
ids = st.lists(st.text(max_size=3), max_size=8)


def id_map(names: list[str], schema: Schema = USER_IDS) -> pl.DataFrame:
    index, name = schema
    return pl.DataFrame({index: range(len(names)), name: names}, schema=schema)


def test_a_first_map_is_sorted() -> None:
    assert extend(EMPTY, pl.Series(["b", "a", "b"])).rows() == [(0, "a"), (1, "b")]


def test_new_ids_are_appended_and_old_ones_stay_even_if_gone() -> None:
    previous = extend(EMPTY, pl.Series(["m", "z"]))

    assert extend(previous, pl.Series(["z", "q", "a"])).rows() == [(0, "m"), (1, "z"), (2, "a"), (3, "q")]


@given(st.lists(ids, min_size=1, max_size=4))
def test_every_generation_keeps_all_earlier_indexes(generations: list[list[str]]) -> None:
    current = EMPTY
    for generation in generations:
        extended = extend(current, pl.Series(generation, dtype=pl.String))
        assert extended.head(len(current)).equals(current)
        assert extended["item_index"].to_list() == list(range(len(extended)))
        assert extended["item_id"].is_unique().all()
        assert set(generation) <= set(extended["item_id"])
        current = extended


def test_without_previous_maps_both_are_empty(tmp_path: Path) -> None:
    users, items = read_previous(tmp_path)

    assert users.is_empty() and items.is_empty()


def test_previous_maps_are_read(tmp_path: Path) -> None:
    write_table(id_map(["u"]), tmp_path / "user_ids.parquet")
    write_table(id_map(["b", "a"], ITEM_IDS), tmp_path / "item_ids.parquet")

    users, items = read_previous(tmp_path)

    assert users["user_id"].to_list() == ["u"] and items["item_id"].to_list() == ["b", "a"]


def test_one_map_without_the_other_is_refused(tmp_path: Path) -> None:
    write_table(id_map(["u"]), tmp_path / "user_ids.parquet")

    with pytest.raises(ArtifactError, match=r"item_ids\.parquet: not found, although user_ids\.parquet is there"):
        read_previous(tmp_path)


@pytest.mark.parametrize(
    "damaged",
    [
        id_map(["a", "a"]),
        id_map(["a", "b"]).reverse(),
        id_map(["a", "b", "c"]).filter(pl.col("user_index") != 1),
        id_map(["a", "b"]).with_columns(user_id=pl.Series(["a", None])),
        id_map(["a", "b"]).with_columns(user_index=pl.Series([0, None], dtype=pl.Int32)),
    ],
    ids=["id twice", "out of order", "gap", "null id", "null index"],
)
def test_a_damaged_map_is_refused(tmp_path: Path, damaged: pl.DataFrame) -> None:
    write_table(damaged, tmp_path / "user_ids.parquet")
    write_table(id_map(["i"], ITEM_IDS), tmp_path / "item_ids.parquet")

    with pytest.raises(ArtifactError, match="damaged id map"):
        read_previous(tmp_path)


def test_a_truncated_map_is_refused(tmp_path: Path) -> None:
    write_table(id_map(["i"], ITEM_IDS), tmp_path / "item_ids.parquet")
    (tmp_path / "user_ids.parquet").write_bytes((tmp_path / "item_ids.parquet").read_bytes()[:-9])

    with pytest.raises(ArtifactError, match="damaged"):
        read_previous(tmp_path)
