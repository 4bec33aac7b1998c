"""MovieLens as GroupLens gives it out since 2014: ratings.csv and movies.csv (latest-small, latest, 20M, 25M, 32M).

Terms (GroupLens, University of Minnesota): free for research; no redistribution without permission, none at all for
revenue; acknowledge F. Maxwell Harper and Joseph A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS
5(4), 2015. Tags and links are not read.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from ilm.data.raw import ROW, RawTable, Source
from ilm.errors import DataError

RATINGS, MOVIES = "ratings.csv", "movies.csv"
NOTICE = "MovieLens, (c) GroupLens: for research only; redistribution by permission. Cite Harper and Konstan 2015."

_RATING = {"userId": pl.Int64, "movieId": pl.Int64, "rating": pl.Float64, "timestamp": pl.Int64}
_MOVIE = {"movieId": pl.Int64, "title": pl.String, "genres": pl.String}


def movielens_csv(place: Path) -> Source:
    """Ratings and movies: the folder with the files, the zip archive, or a folder that holds one of these alone.

    A value that is no number is missing afterwards: the rules of ingest set its row aside.

    Raises:
        DataError: a file is missing, empty or damaged, or it is not clear which one is meant.
    """
    found = _find(place)
    ratings, movies = _read(found, RATINGS, _RATING), _read(found, MOVIES, _MOVIE)
    interactions = ratings.select(ROW, "rating", "timestamp", user_id="userId", item_id="movieId")
    genres = pl.col("genres").replace("(no genres listed)", None).str.replace_all("|", ", ", literal=True)
    items = movies.select(ROW, item_id="movieId", title=pl.col("title").str.strip_chars(), genres=genres)
    return Source(RawTable(RATINGS, interactions), RawTable(MOVIES, items, setting="data.item_columns"), NOTICE)


def _find(place: Path) -> Path:
    if place.is_file() or (place / RATINGS).is_file():
        return place
    below = [path for path in sorted(place.glob("*")) if path.suffix == ".zip" or (path / RATINGS).is_file()]
    if len(below) == 1:
        return below[0]
    what = f"{', '.join(path.name for path in below)} are all there" if below else f"no {RATINGS} is there"
    raise DataError(f"{place}: {what}. Name the folder with {RATINGS}, or the zip archive from grouplens.org.")


def _read(place: Path, name: str, columns: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    try:
        content = _member(place, name) if place.is_file() else place / name
        rows = pl.read_csv(
            content, schema_overrides=columns, ignore_errors=True, row_index_name=ROW, row_index_offset=1
        )
    except FileNotFoundError:
        raise DataError(f"{place}: no {name}. Unpack the distribution again, or give its zip archive.") from None
    except (zipfile.BadZipFile, EOFError, OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).strip().split("\n")[0]
        raise DataError(f"{place}, {name}: damaged or cut off ({reason}). Download it again.") from None
    missing = [column for column in columns if column not in rows.columns]
    if missing:
        raise DataError(f"{place}, {name}: no column {', '.join(missing)}. Is this a MovieLens distribution?")
    if rows.is_empty():
        raise DataError(f"{place}, {name}: the file is empty. Download it again.")
    return rows


def _member(archive: Path, name: str) -> io.BytesIO:
    with zipfile.ZipFile(archive) as opened:
        found = [each for each in opened.namelist() if Path(each).name == name and "__MACOSX" not in each]
        if not found:
            raise FileNotFoundError(name)
        return io.BytesIO(opened.read(found[0]))
