"""Items without a title keep their place under a name, where the user wants that."""

from pathlib import Path

import polars as pl
import pytest

from ilm.data.ingest import ingest
from ilm.data.source import load
from ilm.data.untitled import is_titled
from ilm.errors import DataError
from ilm.params import DataParams


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [("u1", 1, 0), ("u1", 2, 1), ("u2", 3, 0), ("u2", 1, 1)]
    pl.DataFrame(rows, schema=["user_id", "sku", "order"], orient="row").write_csv(tmp_path / "interactions.csv")
    return tmp_path


def params(folder: Path, untitled_items: str = "name", **settings: object) -> DataParams:
    columns = {"interaction_columns": {"item_id": "sku"}, "item_columns": {"item_id": "sku"}}
    return DataParams.model_validate(
        {"source": "folder", "folder": str(folder), "untitled_items": untitled_items} | columns | settings
    )


def test_without_an_items_file_every_item_is_named_by_its_id(folder: Path) -> None:
    items = ingest(load(params(folder)), 0.0).items
    assert items.rows() == [("1", "Untitled item 1"), ("2", "Untitled item 2"), ("3", "Untitled item 3")]


def test_without_an_items_file_and_by_default_the_user_is_told(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no items.parquet, items.csv or items.jsonl"):
        load(params(folder, "set_aside"))


def test_missing_and_blank_titles_are_named_and_others_kept(folder: Path) -> None:
    (folder / "items.csv").write_text("sku,name,genre\n1,Soap,a\n2,,b\n3,  ,c\n")
    columns = {"item_id": "sku", "title": "name"}
    items = ingest(load(params(folder, item_columns=columns)), 0.0).items
    assert items["title"].to_list() == ["Soap", "Untitled item 2", "Untitled item 3"]
    assert items["genre"].to_list() == ["a", "b", "c"]


def test_items_file_without_a_title_column_will_do(folder: Path) -> None:
    (folder / "items.csv").write_text("sku,genre\n1,a\n2,b\n3,c\n")
    assert ingest(load(params(folder)), 0.0).items["title"].to_list()[0] == "Untitled item 1"


def test_row_without_an_id_stays_without_a_name(folder: Path) -> None:
    (folder / "items.csv").write_text("sku,title,genre\n1,Soap,a\n2,Oil,b\n3,Cream,c\n,,d\n")
    assert ingest(load(params(folder)), 0.5).quarantine["rule"].to_list() == ["item_id_missing"]


def test_catalogue_tells_names_from_titles() -> None:
    catalogue = pl.DataFrame({"item_id": ["1", "2"], "title": ["Untitled item 1", "Untitled item 1"]})
    assert is_titled(catalogue).to_list() == [False, True]
