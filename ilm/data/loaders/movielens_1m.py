"""MovieLens 1M as GroupLens gives it out: ratings.dat and movies.dat, `::` between fields, latin-1.

Terms (GroupLens, University of Minnesota): free for research; no redistribution, no commercial or revenue-bearing use
without permission; acknowledge F. Maxwell Harper and Joseph A. Konstan, "The MovieLens Datasets: History and Context",
ACM TiiS 5(4), 2015. users.dat (gender, age, occupation) is not read.
"""

from pathlib import Path

import polars as pl

from ilm.data.loaders.lines import LINE, kept_where, read_lines
from ilm.data.raw import ROW, RawTable, Source
from ilm.errors import DataError

FOLDER, RATINGS, MOVIES = "ml-1m", "ratings.dat", "movies.dat"
NOTICE = "MovieLens 1M, (c) GroupLens: for research only; no redistribution. Cite Harper and Konstan 2015."

_RATING = r"^(\d+)::(\d+)::(\d+(?:\.\d+)?)::(\d+)\s*$"
_MOVIE = r"^(\d+)::(.+)::([^:]*?)\s*$"


def find_movielens_1m(place: Path) -> Path | None:
    """The folder or zip archive of the distribution, at `place` or one level below it; None if it is not there."""
    if place.is_file():
        return place if place.suffix == ".zip" else None
    folders = [folder for folder in (place, place / FOLDER) if (folder / RATINGS).is_file()]
    archive = place / f"{FOLDER}.zip"
    return folders[0] if folders else (archive if archive.is_file() else None)


def movielens_1m(place: Path) -> Source:
    """Ratings and movies of the distribution: a folder with the files, ml-1m.zip, or a folder with one of these.

    Raises:
        DataError: a file is missing, empty or damaged.
    """
    found = find_movielens_1m(place)
    if found is None:
        raise DataError(
            f"{place}: neither {RATINGS} nor {FOLDER}.zip is there. Download MovieLens 1M from grouplens.org, and name "
            "the zip archive or the folder that it holds."
        )
    ratings = _fields(read_lines(found, RATINGS, "latin-1"), _RATING, ["user_id", "item_id", "rating", "timestamp"])
    interactions = ratings.with_columns(kept_where(pl.col("user_id").is_null()))
    movies = _fields(read_lines(found, MOVIES, "latin-1"), _MOVIE, ["item_id", "title", "genres"])
    items = movies.select(
        ROW,
        "item_id",
        # A line that is no movie has no id; its text as title lets the quarantine show it.
        title=pl.when(pl.col("item_id").is_null()).then(pl.col(LINE)).otherwise(pl.col("title")),
        genres=pl.col("genres").str.replace_all("|", ", ", literal=True),
    )
    return Source(RawTable(RATINGS, interactions), RawTable(MOVIES, items, setting="data.item_columns"), NOTICE)


def _fields(lines: pl.DataFrame, pattern: str, names: list[str]) -> pl.DataFrame:
    """The groups of `pattern` as columns, all null where it does not match."""
    groups = lines.with_columns(pl.col(LINE).str.extract_groups(pattern).struct.rename_fields(names).alias("fields"))
    return groups.unnest("fields")
