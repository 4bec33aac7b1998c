"""A file of interactions that will not fit into memory is told before it is read, with what to do instead."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from ilm.data import long_file
from ilm.data.long_file import BYTES_A_ROW, estimated_rows, require_room_for
from ilm.data.source import load
from ilm.errors import DataError
from ilm.params import DataParams

ROWS = 60_000


def table() -> pl.DataFrame:
    return pl.DataFrame({"user_id": range(ROWS), "item_id": range(ROWS), "timestamp": [1_600_000_000] * ROWS})


def written(folder: Path, name: str) -> Path:
    path = folder / name
    if name.endswith(".parquet"):
        table().write_parquet(path)
    elif name.endswith(".jsonl"):
        table().write_ndjson(path)
    else:
        text = table().write_csv().encode()
        path.write_bytes(gzip.compress(text, mtime=0) if name.endswith(".gz") else text)
    return path


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_file, "free_memory", lambda: ROWS * BYTES_A_ROW // 2)


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.jsonl", "x.csv.gz"])
def test_rows_are_known_or_estimated(tmp_path: Path, name: str) -> None:
    assert estimated_rows(written(tmp_path, name)) == pytest.approx(ROWS, rel=0 if name == "x.parquet" else 0.1)


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.csv.gz"])
def test_what_cannot_be_read_is_for_others_to_tell(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert estimated_rows(tmp_path / name) == 0
    (tmp_path / name).write_bytes(b"PAR1 and then nothing")
    assert estimated_rows(tmp_path / name) == 0


def test_a_source_too_long_for_memory_is_refused_with_the_way_out(tmp_path: Path, little_memory: None) -> None:
    written(tmp_path, "interactions.parquet")
    pl.DataFrame({"item_id": ["1"], "title": ["One"]}).write_csv(tmp_path / "items.csv")

    with pytest.raises(DataError, match=r"about 60,000 interactions.*0\.0 GB are free.*move the file to data/logs/"):
        load(DataParams(source="folder", folder=str(tmp_path)))


def test_where_the_free_memory_is_unknown_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_file, "free_memory", lambda: None)
    require_room_for(written(tmp_path, "x.parquet"), "do nothing")
