import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ilm.elm.given import read_given
from ilm.elm.tasks import ALONE
from ilm.errors import DataError

IDS = ["10", "20", "30"]
ROWS = [
    {"task": "summary", "item_id": "20", "text": "A  film\nof thieves.", "other_item_id": None},
    {"task": "similarities", "item_id": "20", "text": "Both are loud.", "other_item_id": "10"},
    {"task": "summary", "item_id": "99", "text": "Not in the catalogue.", "other_item_id": None},
]


def written(folder: Path, rows: list[dict[str, object]], kind: str = "jsonl") -> Path:
    path = folder / f"texts.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_texts_are_found_by_task_and_item_indexes_and_unknown_items_counted(kind: str, tmp_path: Path) -> None:
    texts, unknown = read_given(written(tmp_path, ROWS, kind), IDS)
    assert texts == {("summary", 1, ALONE): "A film of thieves.", ("similarities", 1, 0): "Both are loud."}
    assert unknown == 1


def test_item_ids_may_be_numbers_and_pairs_absent(tmp_path: Path) -> None:
    texts, _ = read_given(written(tmp_path, [{"task": "pitch", "item_id": 30, "text": "See it."}]), IDS)
    assert texts == {("pitch", 2, ALONE): "See it."}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "haiku"}, "row 1: no task is called 'haiku'"),
        ({"text": " "}, "row 1: the text is empty"),
        ({"text": None}, "row 1: the text is empty"),
        ({"other_item_id": "10"}, "is about one item"),
        ({"task": "interpolation"}, "needs an other_item_id"),
        ({"item_id": "30"}, "row 2: a second text of summary for 30"),
    ],
)
def test_wrong_row_is_named(change: dict[str, object], message: str, tmp_path: Path) -> None:
    second = {"task": "summary", "item_id": "30", "text": "Another.", "other_item_id": None}
    with pytest.raises(DataError, match=message):
        read_given(written(tmp_path, [ROWS[0] | change, second], "parquet"), IDS)


def test_missing_column_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column text"):
        read_given(written(tmp_path, [{"task": "summary", "item_id": "10"}]), IDS)
    with pytest.raises(DataError, match="not readable"):
        read_given(tmp_path / "none.parquet", IDS)
