"""MovieLens with commas, as it is given out since 2014, in small and made by hand."""

import zipfile
from pathlib import Path

import pytest

from ilm.data.ingest import Ingested, ingest
from ilm.data.source import load
from ilm.errors import DataError
from ilm.params import DataParams

RATINGS = "userId,movieId,rating,timestamp\n1,10,5.0,978300760\n1,20,3.5,978302109\n2,10,4.0,978301968\n"
MOVIES = (
    "movieId,title,genres\n"
    '10,"Misérables, Les (1998)",Drama|Romance\n20,Heat (1995),(no genres listed)\n30,"""Unseen"" (1999)",War\n'
)


def write(folder: Path, ratings: str = RATINGS, movies: str = MOVIES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ratings.csv").write_text(ratings, encoding="utf-8")
    (folder / "movies.csv").write_text(movies, encoding="utf-8")
    (folder / "tags.csv").write_text("userId,movieId,tag,timestamp\n", encoding="utf-8")
    return folder


def zipped(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted(folder.iterdir()):
            opened.write(path, f"ml-test/{path.name}")
    return archive


def ingested(place: Path, limit: float = 0.5) -> Ingested:
    return ingest(load(DataParams(source="movielens", folder=str(place))), max_quarantine_fraction=limit)


@pytest.mark.parametrize("form", ["folder", "zip", "folder with a folder", "folder with a zip"])
def test_every_form_gives_the_same_tables(form: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "in" / "ml-test")
    place = {"folder": folder, "folder with a folder": folder.parent}.get(form)
    if place is None:
        (tmp_path / "out").mkdir()
        archive = zipped(folder, tmp_path / "out" / "ml-test.zip")
        place = archive if form == "zip" else archive.parent
    tables = ingested(place)
    rows = tables.interactions.sort("user_id", "item_id")
    assert rows.select("user_id", "item_id", "rating").rows() == [("1", "10", 5.0), ("1", "20", 3.5), ("2", "10", 4.0)]
    assert rows["timestamp"].dt.epoch("s").to_list() == [978300760, 978302109, 978301968]
    assert tables.items.sort("item_id").select("item_id", "title", "genres").rows() == [
        ("10", "Misérables, Les (1998)", "Drama, Romance"),
        ("20", "Heat (1995)", None),
        ("30", '"Unseen" (1999)', "War"),
    ]  # fmt: skip


def test_a_line_that_is_broken_is_set_aside(tmp_path: Path) -> None:
    tables = ingested(write(tmp_path / "ml", RATINGS + "x,10,4.0,978301968\n3,10,4.0,978301969\n"))
    assert tables.quarantine.select("row", "rule").rows() == [(4, "user_id_missing")]
    assert len(tables.interactions) == 4


@pytest.mark.parametrize(
    ("ratings", "movies", "message"),
    [
        ("", MOVIES, r"ratings\.csv"),
        ("userId,movieId,rating,timestamp\n", MOVIES, "the file is empty"),
        ("user,movie\n1,2\n", MOVIES, "no column userId, movieId, rating, timestamp"),
        (RATINGS, "movieId,title\n1,x\n", "no column genres"),
    ],
)
def test_what_is_no_distribution_is_refused(ratings: str, movies: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        ingested(write(tmp_path / "ml", ratings, movies))


def test_nothing_two_things_or_a_damaged_archive_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no ratings\.csv is there"):
        ingested(tmp_path)
    for name in ("one", "two"):
        write(tmp_path / "both" / name)
    with pytest.raises(DataError, match="one, two are all there"):
        ingested(tmp_path / "both")
    (tmp_path / "ml.zip").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(DataError, match="damaged or cut off"):
        ingested(tmp_path / "ml.zip")
