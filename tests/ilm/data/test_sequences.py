"""Sequences come by whole users, whatever is read at a time; damaged files are refused."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilm.data.schema import PART, SEQUENCES
from ilm.data.sequences import SequencesByUser, read_sequences
from ilm.errors import ArtifactError


def write(path: Path, *lengths: int, part: str = "train") -> pl.DataFrame:
    rows = [(user, n, 10 * user + n, part) for user, length in enumerate(lengths) for n in range(length)]
    table = pl.DataFrame(rows, schema=SEQUENCES, orient="row")
    table.write_parquet(path, row_group_size=5)
    return table


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 20))
def test_every_user_is_whole_in_one_frame(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], at_once: int
) -> None:
    path = tmp_path_factory.mktemp("t") / "t.parquet"
    table = write(path, *lengths)

    frames = list(SequencesByUser(path, at_once))

    assert pl.concat([table.clear(), *(frame.cast({"part": pl.String}) for frame in frames)]).equals(table)
    users = [user for frame in frames for user in frame["user_index"].unique()]
    assert len(users) == len(set(users))
    assert max(map(len, frames), default=0) <= at_once + max(lengths, default=0)


def test_parts_take_one_byte(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", 2, 3)
    (frame,) = SequencesByUser(tmp_path / "t.parquet")
    assert frame["part"].dtype == read_sequences(tmp_path / "t.parquet")["part"].dtype == PART


@pytest.mark.parametrize("read", [read_sequences, lambda path: list(SequencesByUser(path))])
def test_damaged_pages_and_unknown_parts_are_refused(tmp_path: Path, read) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "t.parquet"
    write(path, 30, part="tomorrow")
    with pytest.raises(ArtifactError, match=r"t\.parquet: damaged .*dvc repro"):
        read(path)

    write(path, 30)
    whole = bytearray(path.read_bytes())
    whole[4:60] = b"\xff" * 56  # a page; the footer, which names the columns, is whole
    path.write_bytes(whole)
    with pytest.raises(ArtifactError, match=r"t\.parquet: damaged .*dvc repro"):
        read(path)
