"""The user's files: every format gives the same rows, every mistake one clear message."""

import json
from pathlib import Path

import polars as pl
import pytest

from ilm.data.raw import ROW
from ilm.data.source import load
from ilm.errors import DataError
from ilm.params import DataParams

INTERACTIONS = {"user_id": ["u1", "u2"], "item_id": ["i1", "i2"], "timestamp": [1_000_000_000, 1_000_000_060]}
ITEMS = {"item_id": ["i1", "i2"], "title": ["Heat", "Ronin"]}


def write(path: Path, columns: dict[str, list[object]]) -> None:
    frame = pl.DataFrame(columns)
    {".parquet": frame.write_parquet, ".csv": frame.write_csv, ".jsonl": frame.write_ndjson}[path.suffix](path)


def read(folder: Path, **settings: dict[str, str]):
    return load(DataParams(source="folder", folder=str(folder), **settings))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "interactions.csv", INTERACTIONS)
    write(tmp_path / "items.csv", ITEMS)
    return tmp_path


def message(folder: Path, **settings: dict[str, str]) -> str:
    """The one message of a reading that must fail."""
    with pytest.raises(DataError) as error:
        read(folder, **settings)
    return str(error.value)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_every_format_gives_its_rows_numbered_from_one(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"interactions.{suffix}", INTERACTIONS)
    write(tmp_path / f"items.{suffix}", ITEMS)

    source = read(tmp_path)

    assert source.interactions.name == f"interactions.{suffix}"
    assert source.interactions.rows[ROW].to_list() == [1, 2]
    assert source.interactions.column("user_id").to_list() == ["u1", "u2"]
    assert source.items.column("title").to_list() == ["Heat", "Ronin"]


def test_columns_are_found_by_their_mapped_names(folder: Path) -> None:
    write(folder / "interactions.csv", {"who": ["u1"], "what": ["i1"], "timestamp": ["x"], "when": [1]})

    source = read(folder, interaction_columns={"user_id": "who", "item_id": "what", "timestamp": "when"})

    assert source.interactions.column("timestamp").to_list() == ["1"]
    assert source.interactions.column("rating") is None


def test_a_column_mapped_elsewhere_no_longer_counts_as_its_own(folder: Path) -> None:
    write(folder / "interactions.csv", {"user_id": ["u"], "item_id": ["i"], "order": [978300019]})

    source = read(folder, interaction_columns={"timestamp": "order"})

    assert source.interactions.has("timestamp") and not source.interactions.has("order")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert "no such folder" in message(tmp_path / "nowhere")


def test_a_missing_file_is_named_with_what_there_is(folder: Path) -> None:
    (folder / "interactions.csv").rename(folder / "ratings.csv")

    said = message(folder)

    assert "no interactions.parquet, interactions.csv or interactions.jsonl" in said and "ratings.csv" in said


def test_missing_items_say_that_text_needs_titles(folder: Path) -> None:
    (folder / "items.csv").unlink()

    assert "need a title for every item" in message(folder)


def test_two_files_for_one_table_are_refused(folder: Path) -> None:
    write(folder / "items.parquet", ITEMS)

    assert "items.parquet and items.csv are both there" in message(folder)


def test_missing_columns_are_all_named_with_those_there_are_and_how_to_map(folder: Path) -> None:
    write(folder / "interactions.csv", {"who": ["u"], "item_id": ["i"]})

    said = message(folder)

    assert "no column user_id; no column timestamp or order" in said
    assert "The file has: who, item_id" in said
    assert "data.interaction_columns: {user_id: its_name_in_the_file}" in said


def test_a_mapping_to_a_column_that_is_not_there_is_refused(folder: Path) -> None:
    assert "maps title to name, which the file does not have" in message(folder, item_columns={"title": "name"})


def test_a_mapping_of_a_name_that_is_not_ours_is_refused(folder: Path) -> None:
    said = message(folder, interaction_columns={"userid": "user_id"})

    assert "names userid, which is not one of ours (user_id, item_id, timestamp" in said


@pytest.mark.parametrize("name", ["interactions.csv", "items.parquet", "items.jsonl"])
def test_a_file_of_no_bytes_is_refused(folder: Path, name: str) -> None:
    (folder / name.replace(name.split(".")[1], "csv")).unlink()
    (folder / name).write_bytes(b"")

    assert f"{name}: the file is empty" in message(folder)


def test_a_header_without_rows_is_refused(folder: Path) -> None:
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp\n")

    assert "no rows" in message(folder)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_text_that_is_not_utf8_is_refused_with_its_line(folder: Path, suffix: str) -> None:
    (folder / "items.csv").unlink()
    lines = ["item_id,title", "i1,Heat", "i2,Léon"]
    if suffix == "jsonl":
        lines = [f'{{"item_id": "i{n}", "title": "{title}"}}' for n, title in enumerate(["Heat", "Ronin", "Léon"])]
    (folder / f"items.{suffix}").write_bytes("\n".join(lines).encode("latin-1"))

    assert "line 3: not UTF-8" in message(folder)


def test_a_csv_line_with_too_many_values_is_refused_with_its_line(folder: Path) -> None:
    (folder / "items.csv").write_text("item_id,title\ni1,Heat\ni2,Good, the Bad\n")

    assert "items.csv, line 3: 3 values, but 2 columns" in message(folder)


def test_an_open_quotation_mark_is_refused(folder: Path) -> None:
    (folder / "items.csv").write_text('item_id,title\ni1,"Heat\ni2,Ronin\n')

    assert "malformed CSV" in message(folder)


def test_a_csv_column_given_twice_is_refused(folder: Path) -> None:
    (folder / "items.csv").write_text("item_id,title,title\ni1,Heat,Ronin\n")

    assert "two columns are called title" in message(folder)


def test_a_malformed_json_line_is_refused_with_its_line(folder: Path) -> None:
    (folder / "items.csv").unlink()
    (folder / "items.jsonl").write_text('{"item_id": "i1", "title": "Heat"}\n{"item_id": "i2", "title": \n')

    assert "items.jsonl, line 2: malformed JSON" in message(folder)


def test_a_json_line_that_is_no_object_is_refused(folder: Path) -> None:
    (folder / "items.csv").unlink()
    (folder / "items.jsonl").write_text('{"item_id": "i1", "title": "Heat"}\n["i2", "Ronin"]\n')

    assert "line 2: not a JSON object" in message(folder)


def test_a_truncated_parquet_file_is_refused(folder: Path) -> None:
    (folder / "items.csv").unlink()
    write(folder / "items.parquet", ITEMS)
    content = (folder / "items.parquet").read_bytes()
    (folder / "items.parquet").write_bytes(content[: len(content) // 2])

    assert "damaged or cut off" in message(folder)


def test_bytes_that_are_not_parquet_are_refused(folder: Path) -> None:
    (folder / "items.csv").unlink()
    (folder / "items.parquet").write_bytes(json.dumps(ITEMS).encode() * 10)

    assert "damaged or cut off" in message(folder)


def test_blank_csv_lines_are_no_rows(folder: Path) -> None:
    (folder / "items.csv").write_text("\ufeffitem_id,title\n\ni1,Heat\n\n", encoding="utf-8")

    assert read(folder).items.column("item_id").to_list() == ["i1"]
