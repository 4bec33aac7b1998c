"""Amazon reviews and metadata of both editions, in small and made by hand."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from ilm.data.ingest import Ingested, ingest
from ilm.data.loaders.amazon import amazon
from ilm.data.source import load
from ilm.errors import DataError
from ilm.params import DataParams

REVIEWS_2014 = [
    {"reviewerID": "U1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1400000000, "reviewText": 'say "asin": no'},
    {"reviewerID": "U2", "asin": "B1", "overall": 3.0, "unixReviewTime": 1400000001, "helpful": [0, 1]},
    {"reviewerID": "U2", "asin": "B2", "overall": 4.0, "unixReviewTime": 1400000002},
]
META_2014 = [
    """{'asin': 'B1', 'title': "Mum's Cream &amp; Oil", 'categories': [['Beauty', 'Skin'], ['Beauty', 'Face']]}""",
    """{'asin': 'B9', 'title': 'Never Reviewed', 'categories': [['Beauty']]}""",
    """{'asin': 'B2', 'title': 'Soap', 'description': 'Clean.', 'brand': 'Foam', 'price': 2.5}""",
]
REVIEWS_2023 = [
    {"user_id": "U1", "parent_asin": "B1", "asin": "B1x", "rating": 5.0, "timestamp": 1400000000000, "title": "Good"},
    {"user_id": "U2", "parent_asin": "B2", "asin": "B2", "rating": 1.0, "timestamp": 1400000001000, "title": "Bad"},
]
META_2023 = [
    {"parent_asin": "B1", "title": "Cream", "store": "Foam", "categories": [], "features": ["soft", "white"]},
    {"parent_asin": "B2", "title": "Soap", "store": None, "categories": ["Beauty", "Bath"], "description": ["Clean."]},
]


def jsonl(records: list[dict[str, object]]) -> list[str]:
    return [json.dumps(record) for record in records]


def write(folder: Path, **files: list[str]) -> Path:
    """`reviews_Beauty_5__json__gz=[lines]` -> reviews_Beauty_5.json.gz."""
    folder.mkdir(exist_ok=True)
    for name, lines in files.items():
        path = folder / name.replace("__", ".")
        content = "".join(line + "\n" for line in lines).encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return folder


@pytest.fixture
def edition_2014(tmp_path: Path) -> Path:
    return write(tmp_path / "beauty", reviews_Beauty_5__json__gz=jsonl(REVIEWS_2014), meta_Beauty__json__gz=META_2014)


def ingested(folder: Path, **settings: object) -> Ingested:
    params = DataParams.model_validate({"source": "amazon", "folder": str(folder)} | settings)
    return ingest(load(params), max_quarantine_fraction=0.8)


def test_edition_of_2014_gives_reviews_and_the_reviewed_items(edition_2014: Path) -> None:
    tables = ingested(edition_2014)
    assert tables.interactions.select("user_id", "item_id", "rating").rows() == [
        ("U1", "B1", 5.0), ("U2", "B1", 3.0), ("U2", "B2", 4.0),
    ]  # fmt: skip
    assert tables.interactions["timestamp"].dt.epoch("s").to_list() == [1400000000, 1400000001, 1400000002]
    assert tables.items.to_dicts() == [
        {"item_id": "B1", "title": "Mum's Cream & Oil", "brand": None, "categories": "Beauty, Skin, Face",
         "description": None},
        {"item_id": "B2", "title": "Soap", "brand": "Foam", "categories": None, "description": "Clean."},
    ]  # fmt: skip


def test_edition_of_2018_has_its_own_names_for_lists(tmp_path: Path) -> None:
    meta = [
        {"asin": "B1", "title": "Cream", "category": ["Beauty", "Face"], "feature": ["soft"], "description": ["Good."]},
        {"asin": "B2", "title": "Soap", "category": [], "feature": [], "description": []},
    ]
    folder = write(tmp_path / "b", Beauty_5__json__gz=jsonl(REVIEWS_2014), meta_Beauty__json__gz=jsonl(meta))
    assert ingested(folder).items.to_dicts() == [
        {"item_id": "B1", "title": "Cream", "categories": "Beauty, Face", "description": "Good.", "features": "soft"},
        {"item_id": "B2", "title": "Soap", "categories": None, "description": None, "features": None},
    ]


def test_edition_of_2023_gives_parent_products_and_milliseconds(tmp_path: Path) -> None:
    folder = write(tmp_path / "all", All_Beauty__jsonl=jsonl(REVIEWS_2023), meta_All_Beauty__jsonl=jsonl(META_2023))
    tables = ingested(folder)
    assert tables.interactions["item_id"].to_list() == ["B1", "B2"]
    assert tables.interactions["timestamp"].dt.epoch("s").to_list() == [1400000000, 1400000001]
    assert tables.items.select("title", "brand", "categories", "description", "features").rows() == [
        ("Cream", "Foam", None, None, "soft, white"),
        ("Soap", None, "Beauty, Bath", "Clean.", None),
    ]


def test_unpacked_files_give_the_same(edition_2014: Path, tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", reviews_Beauty_5__json=jsonl(REVIEWS_2014), meta_Beauty__json=META_2014)
    assert amazon(plain).interactions.rows.equals(amazon(edition_2014).interactions.rows)
    assert amazon(plain).items.rows.equals(amazon(edition_2014).items.rows)


def test_line_of_metadata_is_data_and_never_run(tmp_path: Path) -> None:
    attack = f"""{{'asin': 'B1', 'title': open({str(tmp_path / "made")!r}, 'w').name}}"""
    folder = write(tmp_path / "b", reviews_Beauty_5__json=jsonl(REVIEWS_2014), meta_Beauty__json=[attack, META_2014[2]])
    found = ingested(folder).quarantine
    assert not (tmp_path / "made").exists()
    assert found.filter(pl.col("rule") == "item_id_missing")["row"].to_list() == [1]


def test_damaged_lines_go_to_quarantine_with_their_number_and_text(tmp_path: Path) -> None:
    reviews = [*jsonl(REVIEWS_2014), '{"reviewerID": "U3", "asin": "B2", "overall": ', '{"reviewerID": "U4"}']
    meta = [*META_2014, "{'asin': 'B2', 'title': 'cut o"]
    folder = write(tmp_path / "b", reviews_Beauty_5__json=reviews, meta_Beauty__json__gz=meta)
    found = ingested(folder).quarantine
    assert found.select("source", "row", "rule").rows() == [
        ("reviews_Beauty_5.json", 4, "user_id_missing"),
        ("reviews_Beauty_5.json", 5, "item_id_missing"),
        ("meta_Beauty.json.gz", 4, "item_id_missing"),
    ]
    assert all(text in record for text, record in zip(("U3", "U4", "cut o"), found["record"], strict=True))


def test_reviewed_item_without_title_or_metadata_is_set_aside_or_named(tmp_path: Path) -> None:
    reviews = jsonl([*REVIEWS_2014, {"reviewerID": "U1", "asin": "B3", "overall": 1.0, "unixReviewTime": 1400000009}])
    meta = [META_2014[0], "{'asin': 'B2', 'price': 2.5}"]
    folder = write(tmp_path / "b", reviews_Beauty_5__json=reviews, meta_Beauty__json=meta)
    aside = ingested(folder)
    assert aside.items["item_id"].to_list() == ["B1"]
    assert aside.interactions.height == 2
    named = ingested(folder, untitled_items="name")
    assert named.items["title"].to_list() == ["Mum's Cream & Oil", "Untitled item B2", "Untitled item B3"]
    assert named.interactions.height == 4


def test_folder_without_the_two_files_is_a_message(tmp_path: Path) -> None:
    write(tmp_path / "b", reviews_Beauty_5__json=jsonl(REVIEWS_2014))
    with pytest.raises(DataError, match="needs one file of reviews and one of metadata"):
        amazon(tmp_path / "b")


def test_two_categories_in_one_folder_are_a_message(edition_2014: Path) -> None:
    write(edition_2014, reviews_Toys_5__json=jsonl(REVIEWS_2014))
    with pytest.raises(DataError, match=r"several files of reviews \(reviews_Beauty_5.json.gz, reviews_Toys_5.json\)"):
        amazon(edition_2014)


def test_reviews_of_another_form_are_a_message(tmp_path: Path) -> None:
    folder = write(tmp_path / "b", reviews__json=['{"who": "U1", "what": "B1"}'], meta_x__json=META_2014)
    with pytest.raises(DataError, match="no line has the fields reviewerID, asin"):
        amazon(folder)


@pytest.mark.parametrize("name", ["reviews_Beauty_5.json.gz", "meta_Beauty.json.gz"])
def test_download_that_was_cut_off_is_a_message(edition_2014: Path, name: str) -> None:
    path = edition_2014 / name
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match=rf"{name}: damaged, cut off"):
        amazon(edition_2014)
