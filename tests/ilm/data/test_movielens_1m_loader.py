"""MovieLens 1M as it is given out, in small and made by hand."""

import zipfile
from pathlib import Path

import polars as pl
import pytest

from ilm.data.ingest import Ingested, ingest
from ilm.data.loaders.movielens_1m import movielens_1m
from ilm.data.source import load
from ilm.errors import DataError
from ilm.params import DataParams

RATINGS = "1::10::5::978300760\n1::20::3::978302109\n2::10::4::978301968\n"
MOVIES = "10::Misérables, Les (1998)::Drama|Romance\n20::Heat: The Film :: II (1995)::Action\n30::Unseen (1999)::War\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "ml-1m")


def write(folder: Path, ratings: str = RATINGS, movies: str = MOVIES) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "ratings.dat").write_bytes(ratings.encode("latin-1"))
    (folder / "movies.dat").write_bytes(movies.encode("latin-1"))
    (folder / "users.dat").write_text("1::F::1::10::48067\n")
    return folder


def ingested(place: Path) -> Ingested:
    return ingest(load(DataParams(source="movielens-1m", folder=str(place))), max_quarantine_fraction=0.5)


def test_ratings_have_users_movies_stars_and_moments(folder: Path) -> None:
    rows = ingested(folder).interactions.sort("user_id", "item_id")
    assert rows.select("user_id", "item_id", "rating").rows() == [("1", "10", 5.0), ("1", "20", 3.0), ("2", "10", 4.0)]
    assert rows["timestamp"].dt.epoch("s").to_list() == [978300760, 978302109, 978301968]


def test_titles_keep_accents_and_colons_and_genres_are_a_list(folder: Path) -> None:
    assert ingested(folder).items.rows() == [
        ("10", "Misérables, Les (1998)", "Drama, Romance"),
        ("20", "Heat: The Film :: II (1995)", "Action"),
        ("30", "Unseen (1999)", "War"),
    ]


def test_zip_archive_folder_and_folder_around_them_give_the_same(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    with zipfile.ZipFile(tmp_path / "downloads/ml-1m.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"ml-1m/{file.name}")
    places = [folder, folder.parent, tmp_path / "downloads", tmp_path / "downloads/ml-1m.zip"]
    tables = [movielens_1m(place) for place in places]
    assert all(table.interactions.rows.equals(tables[0].interactions.rows) for table in tables)
    assert all(table.items.rows.equals(tables[0].items.rows) for table in tables)


def test_windows_line_ends_change_nothing(folder: Path, tmp_path: Path) -> None:
    before = ingested(folder)
    again = ingested(write(tmp_path / "other", RATINGS.replace("\n", "\r\n"), MOVIES.replace("\n", "\r\n")))
    assert again.interactions.equals(before.interactions)
    assert again.items.equals(before.items)


def test_damaged_lines_go_to_quarantine_with_their_number_and_text(tmp_path: Path) -> None:
    ratings = RATINGS + "2::20::4\n\n2::30::4::978301970\n"
    place = write(tmp_path / "ml-1m", ratings, MOVIES + "forty::A Film (2000)::War\n")
    found = ingested(place).quarantine
    assert found.select("source", "row", "rule").rows() == [
        ("ratings.dat", 4, "user_id_missing"),
        ("movies.dat", 4, "item_id_missing"),
    ]
    assert "2::20::4" in found["record"][0]
    assert "forty::A Film" in found["record"][1]


def test_text_that_the_quarantine_keeps_costs_nothing_for_good_lines(folder: Path) -> None:
    assert movielens_1m(folder).interactions.rows["line"].null_count() == 3


def test_place_without_the_distribution_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither ratings.dat nor ml-1m.zip"):
        movielens_1m(tmp_path)


def test_missing_and_empty_files_are_messages(folder: Path) -> None:
    (folder / "movies.dat").write_text("")
    with pytest.raises(DataError, match=r"movies.dat: the file is empty"):
        movielens_1m(folder)
    (folder / "movies.dat").unlink()
    with pytest.raises(DataError, match=r"no movies.dat"):
        movielens_1m(folder)


def test_archive_that_is_cut_off_is_a_message(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "ml-1m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / "ratings.dat", "ml-1m/ratings.dat")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"ml-1m.zip, ratings.dat: damaged or cut off"):
        movielens_1m(path)


def test_archive_without_the_files_is_a_message(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as archive:
        archive.writestr("ml-1m/README", "hello")
    with pytest.raises(DataError, match=r"no ratings.dat"):
        movielens_1m(tmp_path / "ml-1m.zip")


def test_rows_are_numbered_as_in_the_file(folder: Path) -> None:
    rows = movielens_1m(folder).interactions.rows
    assert rows["__row"].to_list() == [1, 2, 3]
    assert isinstance(rows, pl.DataFrame)
