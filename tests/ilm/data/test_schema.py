"""Tables between steps: equal frames give equal bytes, and what is not the table it should be is refused."""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from ilm.data.schema import EXAMPLES, ITEMS, USER_IDS, read_table, write_table
from ilm.errors import ArtifactError

FRAME = pl.DataFrame({"user_index": [0, 1], "user_id": ["a", "b"]}, schema=USER_IDS)


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_table(FRAME, tmp_path / "deeper" / "t.parquet")

    assert read_table(tmp_path / "deeper" / "t.parquet", USER_IDS).equals(FRAME)


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_table(FRAME.clone(), tmp_path / name)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_lists_are_read_by_pyarrow_alone(tmp_path: Path) -> None:
    row = {"task": "sequential", "split": "train", "user_index": 0, "history": [1, 2], "target": 3}
    write_table(pl.DataFrame([row], schema=EXAMPLES), tmp_path / "t")

    assert pq.read_table(tmp_path / "t").to_pylist() == [row]


def test_a_missing_table_says_which_command_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not found. Run the step that writes it"):
        read_table(tmp_path / "t.parquet", USER_IDS)


@pytest.mark.parametrize("keep", [0, 1, 0.5, 0.99])
def test_a_truncated_table_is_refused(tmp_path: Path, keep: float) -> None:
    write_table(FRAME, tmp_path / "t")
    content = (tmp_path / "t").read_bytes()
    (tmp_path / "t").write_bytes(content[: int(keep * len(content)) if keep < 1 else 1])

    with pytest.raises(ArtifactError, match="damaged"):
        read_table(tmp_path / "t", USER_IDS)


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (FRAME.drop("user_id"), "user_id should be String"),
        (FRAME.cast({"user_index": pl.Int64}), "user_index should be Int32"),
        (FRAME.with_columns(extra=1), "extra should not be there"),
    ],
)
def test_other_columns_or_types_are_refused(tmp_path: Path, frame: pl.DataFrame, problem: str) -> None:
    write_table(frame, tmp_path / "t")

    with pytest.raises(ArtifactError, match=problem):
        read_table(tmp_path / "t", USER_IDS)


def test_further_text_columns_are_welcome_where_said_and_only_as_text(tmp_path: Path) -> None:
    items = pl.DataFrame({"item_id": ["i"], "title": ["t"], "genres": ["g"], "year": [1]})
    write_table(items.drop("year"), tmp_path / "good")
    write_table(items, tmp_path / "bad")

    assert read_table(tmp_path / "good", ITEMS, with_text=True).columns == ["item_id", "title", "genres"]
    with pytest.raises(ArtifactError, match="year should be String"):
        read_table(tmp_path / "bad", ITEMS, with_text=True)
