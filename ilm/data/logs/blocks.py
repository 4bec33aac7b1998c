"""A log file as blocks of raw rows, so that memory does not grow with the file. Values of text files come as text."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import polars as pl

from ilm.data.logs import text_blocks
from ilm.data.logs.files import Rejected
from ilm.data.raw import ROW
from ilm.errors import DataError

BLOCK_ROWS = 1 << 20
"""Rows of a block of a Parquet file; `text_blocks.BLOCK_BYTES` is the measure of text."""


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a file."""

    rows: pl.DataFrame
    """ROW (1-based, counting data rows of the file) and the columns asked for."""
    unreadable: pl.DataFrame
    """ROW and `record` (the line) of lines that are no rows."""


def column_names(path: Path) -> list[str]:
    """Names of the file's columns; of JSON lines those that the first lines have.

    Raises:
        Rejected: empty, damaged or cut off.
        DataError: it could not be read.
    """
    with _said(path):
        if path.stat().st_size == 0:
            raise Rejected("file_empty", "the file is empty: not even column names")
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            return list(pq.read_schema(path).names)
        with _opened(path) as file:
            return text_blocks.csv_header(file)[0] if _is_csv(path) else text_blocks.json_names(file)


def read_blocks(path: Path, columns: list[str]) -> Iterator[Block]:
    """The named columns of the file's rows, in order. A name that JSON lines lack gives nulls.

    Raises:
        Rejected: damaged or cut off; perhaps after some blocks.
        DataError: it could not be read.
    """
    done = 0
    with _said(path):
        for rows, unreadable, count in _raw_blocks(path, columns):
            yield Block(rows.with_columns(pl.col(ROW) + done), unreadable.with_columns(pl.col(ROW) + done))
            done += count


def _raw_blocks(path: Path, columns: list[str]) -> Iterator[text_blocks.Rows]:
    if path.suffix == ".parquet":
        yield from _parquet(path, columns)
        return
    with _opened(path) as file:
        yield from text_blocks.csv_blocks(file, columns) if _is_csv(path) else text_blocks.json_blocks(file, columns)


def _parquet(path: Path, columns: list[str]) -> Iterator[text_blocks.Rows]:
    import pyarrow
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        frames: Iterator[Any]
        if max(sizes, default=0) <= BLOCK_ROWS:
            whole = pl.scan_parquet(path, glob=False).select(columns)
            frames = (whole.slice(start, rows).collect() for start, rows in _whole_groups(sizes))
        else:  # polars reads at least one row group at once, which may not fit into memory
            batches = file.iter_batches(BLOCK_ROWS, columns=columns)
            frames = (pl.from_arrow(pyarrow.Table.from_batches([batch])) for batch in batches)
        for frame in frames:
            yield frame.select(columns).with_row_index(ROW, offset=1), text_blocks.no_lines(), len(frame)


def _whole_groups(sizes: list[int]) -> Iterator[tuple[int, int]]:
    """First row and number of rows of blocks of neighbouring row groups, at most BLOCK_ROWS each."""
    start = rows = 0
    for size in sizes:
        if rows + size > BLOCK_ROWS:
            yield start, rows
            start, rows = start + rows, 0
        rows += size
    yield start, rows


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """What goes wrong with a file as a file, as one `Rejected`."""
    import pyarrow

    try:
        yield
    except EOFError:
        raise Rejected("file_cut_off", "the gzip file ends in the middle. Copy it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise Rejected("file_damaged", f"not a whole gzip file ({error}). Copy it again") from None
    except (pyarrow.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        if _is_of_the_system(error, path):
            # Not a matter of content: a file that was opened before would be forgotten if it counted as read.
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{path}: could not be read ({reason}). Run the step again.") from None
        reason = str(error).strip().split("\n")[0]
        raise Rejected("file_damaged", f"damaged or cut off ({reason}). Export or copy it again") from None


def _is_of_the_system(error: BaseException, path: Path) -> bool:
    """Whether the disk failed, or there are too many open files; else the content is at fault, such as Parquet pages
    that do not decompress, which pyarrow reports as an OSError without a number."""
    numbered = isinstance(error, OSError) and error.errno is not None
    return numbered or "(os error " in str(error) or (isinstance(error, OSError) and path.suffix != ".parquet")


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb"))


def _is_csv(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(".csv")
