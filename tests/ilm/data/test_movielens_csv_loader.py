"""MovieLens as CSV as it is given out, in small and made by hand."""

import zipfile
from pathlib import Path

import pytest

from ilm.data.ingest import Ingested, ingest
from ilm.data.loaders.movielens_csv import movielens_csv
from ilm.data.source import load
from ilm.errors import DataError
from ilm.params import DataParams

RATINGS = "userId,movieId,rating,timestamp\n1,10,5.0,978300760\n1,20,3.5,978302109\n2,10,4.0,978301968\n"
MOVIES = (
    'movieId,title,genres\n10,"Misérables, Les (1998)",Drama|Romance\n20,Heat (1995),Action\n'
    "30,Unseen (1999),(no genres listed)\n"
)
TAGS = "userId,movieId,tag,timestamp\n1,10,sad,1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "ml-25m")


def write(folder: Path, ratings: str = RATINGS, movies: str = MOVIES) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "ratings.csv").write_text(ratings, encoding="utf-8")
    (folder / "movies.csv").write_text(movies, encoding="utf-8")
    (folder / "tags.csv").write_text(TAGS, encoding="utf-8")
    return folder


def archive_of(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for file in folder.iterdir():
            opened.write(file, f"{folder.name}/{file.name}")
    return archive


def ingested(place: Path) -> Ingested:
    return ingest(load(DataParams(source="movielens", folder=str(place))), max_quarantine_fraction=0.5)


def test_ratings_have_users_movies_stars_and_moments(folder: Path) -> None:
    rows = ingested(folder).interactions.sort("user_id", "item_id")
    assert rows.select("user_id", "item_id", "rating").rows() == [("1", "10", 5.0), ("1", "20", 3.5), ("2", "10", 4.0)]
    assert rows["timestamp"].dt.epoch("s").to_list() == [978300760, 978302109, 978301968]


def test_movies_have_title_and_genres_and_no_tags_of_later_days(folder: Path) -> None:
    items = ingested(folder).items
    assert items.columns == ["item_id", "title", "genres"]
    assert items["title"].to_list() == ["Misérables, Les (1998)", "Heat (1995)", "Unseen (1999)"]
    assert items["genres"].to_list() == ["Drama, Romance", "Action", None]


def test_zip_archive_folder_and_folder_around_them_give_the_same(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    archive = archive_of(folder, tmp_path / "downloads/ml-25m.zip")
    tables = [movielens_csv(place) for place in (folder, folder.parent, archive, archive.parent)]
    assert all(table.interactions.rows.equals(tables[0].interactions.rows) for table in tables)
    assert all(table.items.rows.equals(tables[0].items.rows) for table in tables)


def test_windows_line_ends_change_nothing(folder: Path, tmp_path: Path) -> None:
    windows = [text.replace("\n", "\r\n") for text in (RATINGS, MOVIES)]
    before, again = ingested(folder), ingested(write(tmp_path / "other", *windows))
    assert again.interactions.equals(before.interactions)
    assert again.items.equals(before.items)


def test_damaged_line_goes_to_quarantine_with_its_number_and_text(tmp_path: Path) -> None:
    ratings = RATINGS + "2,20,4\n\n2,30,4.0,978301970\n"
    found = ingested(write(tmp_path / "ml", ratings)).quarantine
    assert found.select("source", "row", "rule").rows() == [("ratings.csv", 4, "user_id_missing")]
    assert "2,20,4" in found["record"][0]


def test_good_lines_keep_no_text(folder: Path) -> None:
    assert "line" not in movielens_csv(folder).interactions.rows.columns


def test_several_distributions_in_one_folder_are_refused(folder: Path) -> None:
    write(folder.parent / "ml-32m")
    with pytest.raises(DataError, match=r"several distributions \(ml-25m, ml-32m\)"):
        movielens_csv(folder.parent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratings": "user,movie\n1,2\n"}, "its first line is not userId,movieId,rating,timestamp"),
        ({"ratings": ""}, "its first line is not"),
        ({"ratings": "userId,movieId,rating,timestamp\n"}, "no line is a rating"),
        ({"movies": "id,name\n1,a\n"}, "no column movieId, title, genres"),
    ],
)
def test_other_columns_and_empty_files_are_messages(tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        movielens_csv(write(tmp_path / "ml", **change))


def test_place_without_the_distribution_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no ratings.csv, in a folder or in a zip archive"):
        movielens_csv(tmp_path)


def test_archive_without_movies_is_a_message(folder: Path, tmp_path: Path) -> None:
    (folder / "movies.csv").unlink()
    with pytest.raises(DataError, match=r"ml.zip: no movies.csv"):
        movielens_csv(archive_of(folder, tmp_path / "ml.zip"))


def test_damaged_archive_is_a_message(folder: Path, tmp_path: Path) -> None:
    archive = archive_of(folder, tmp_path / "ml.zip")
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"ml.zip, ratings.csv: damaged or cut off"):
        movielens_csv(archive)
