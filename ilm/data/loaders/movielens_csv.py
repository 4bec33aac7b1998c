"""MovieLens as CSV: latest-small, latest, 20M, 25M, 32M. ratings.csv is read in batches, from a folder or zip archive.

tags.csv is not read: its tags are what users said later, too, and as texts of the items they would tell of what is held
out. Terms (GroupLens, University of Minnesota): free for research; no commercial use without
permission, redistribution under the same terms; acknowledge F. Maxwell Harper and Joseph A. Konstan, "The MovieLens
Datasets: History and Context", ACM TiiS 5(4), 2015.
"""

from pathlib import Path

import polars as pl

from ilm.data.folder import read_whole
from ilm.data.loaders.lines import LINE, collect, has_member, kept_where, scan_lines, unpacked
from ilm.data.raw import ROW, RawTable, Source
from ilm.errors import DataError

RATINGS, MOVIES = "ratings.csv", "movies.csv"
NOTICE = (
    "MovieLens, (c) GroupLens: for research only; no commercial use without permission, redistribution under the same "
    "terms. Cite Harper and Konstan 2015."
)

_HEADER = "userId,movieId,rating,timestamp"
_RATING = r"^(\d+),(\d+),(\d+(?:\.\d+)?),(\d+)\s*$"
_TYPES = {"user_id": pl.Int32, "item_id": pl.Int32, "rating": pl.Float32, "timestamp": pl.Int64}


def find_movielens_csv(place: Path) -> Path | None:
    """The folder or zip archive of the distribution, at `place` or one level below it; None if it is not there.

    Raises:
        DataError: several lie there.
    """
    if place.is_file():
        return place if place.suffix == ".zip" else None
    if not place.is_dir() or (place / RATINGS).is_file():
        return place if place.is_dir() else None
    below = sorted(place.iterdir())
    found = [inner for inner in below if (inner / RATINGS).is_file()]
    found = found or [inner for inner in below if inner.suffix == ".zip" and has_member(inner, RATINGS)]
    if len(found) > 1:
        raise DataError(f"{place}: several distributions ({', '.join(path.name for path in found)}). Name one of them.")
    return found[0] if found else None


def movielens_csv(place: Path) -> Source:
    """Ratings and movies: a folder with the files, its zip archive, or a folder with one of these.

    Raises:
        DataError: a file is missing, empty or damaged, or has other columns.
    """
    found = find_movielens_csv(place)
    if found is None:
        raise DataError(
            f"{place}: no {RATINGS}, in a folder or in a zip archive. Download ml-latest-small.zip, ml-25m.zip or "
            "ml-32m.zip from grouplens.org, and name the archive or the folder that it holds."
        )
    with unpacked(found, RATINGS) as path:
        interactions = _ratings(path, f"{found}, {RATINGS}")
    items = _movies(found)
    return Source(RawTable(RATINGS, interactions), RawTable(MOVIES, items, setting="data.item_columns"), NOTICE)


def _ratings(path: Path, where: str) -> pl.DataFrame:
    lines = scan_lines(path, first_row=0)  # the header is row 0
    header = collect(lines.head(1), path)
    if header.is_empty() or header[LINE][0].strip().lstrip("\ufeff") != _HEADER:
        raise DataError(f"{where}: its first line is not {_HEADER}. Unpack the distribution again.")
    fields = pl.col(LINE).str.extract_groups(_RATING).struct.rename_fields(list(_TYPES)).alias("fields")
    rows = lines.filter(pl.col(ROW) > 0).with_columns(fields).unnest("fields")
    rows = rows.with_columns(pl.col(name).cast(kind, strict=False) for name, kind in _TYPES.items())
    broken = pl.any_horizontal(pl.col("user_id", "item_id").is_null())
    found = collect(rows.select(ROW, *_TYPES, kept_where(broken)), path)
    if found["user_id"].count() == 0:
        raise DataError(f"{where}: no line is a rating. Unpack the distribution again.")
    return found if found[LINE].count() else found.drop(LINE)  # 16 bytes a row, even where it is null


def _movies(found: Path) -> pl.DataFrame:
    movies = _table(found, MOVIES, ["movieId", "title", "genres"])
    genres = pl.col("genres").replace("(no genres listed)", None).str.replace_all("|", ", ", literal=True)
    return movies.select(ROW, item_id="movieId", title="title", genres=genres)


def _table(found: Path, member: str, columns: list[str]) -> pl.DataFrame:
    with unpacked(found, member) as path:
        table = read_whole(path)
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(f"{found}, {member}: no column {', '.join(missing)}. Unpack the distribution again.")
    return table
