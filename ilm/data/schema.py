"""The tables that steps hand to each other: their columns and types, and how they are read and written.

Equal frames give equal bytes; a file that does not have its columns and types is refused.
"""

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import polars as pl
import pyarrow as pa

from ilm.errors import ArtifactError
from ilm.files import replaced

Schema: TypeAlias = Mapping[str, pl.DataType | type[pl.DataType]]

INTERACTIONS: Schema = {
    "user_id": pl.String,
    "item_id": pl.String,
    "timestamp": pl.Datetime("us", "UTC"),
    "order": pl.Int64,
    "rating": pl.Float32,
    "event_id": pl.String,
    "event_type": pl.String,
}
"""`order` is given for all rows or for none; `timestamp` may be null only where `order` is given."""

ITEMS: Schema = {"item_id": pl.String, "title": pl.String}
"""Any number of text columns follow, in alphabetical order."""

QUARANTINE: Schema = {
    "table": pl.String,
    "source": pl.String,
    "row": pl.Int64,
    "rule": pl.String,
    "reason": pl.String,
    "record": pl.String,
}
"""`table` is interactions, items or logs; `row` the 1-based data row of `source`, null for a file as a whole; `record`
the row as it came, as JSON, or the line that is no row."""

SOURCE_USERS: Schema = {"user_id": pl.String}
"""Distinct users of the source, without those of log files."""

USER_IDS: Schema = {"user_index": pl.Int32, "user_id": pl.String}
ITEM_IDS: Schema = {"item_index": pl.Int32, "item_id": pl.String}

CATALOGUE: Schema = {"item_index": pl.Int32, "item_id": pl.String, "title": pl.String, "active": pl.Boolean}
"""One row per index, without a gap; text columns stand between `title` and `active`."""

PART = pl.Enum(["train", "valid", "test"])
"""Of a history, while it is in memory: a byte, where the text takes 16."""
SEQUENCES: Schema = {"user_index": pl.Int32, "position": pl.Int32, "item_index": pl.Int32, "part": pl.String}
ITEM_TEXT: Schema = {"item_index": pl.Int32, "variant": pl.Int32, "text": pl.String}
ITEM_ITEM: Schema = {"item_index": pl.Int32, "neighbour_index": pl.Int32, "count": pl.Int32}
USER_ITEM: Schema = {"user_index": pl.Int32, "item_index": pl.Int32}
EXAMPLES: Schema = {
    "task": pl.String,
    "split": pl.String,
    "user_index": pl.Int32,
    "history": pl.List(pl.Int32),
    "target": pl.Int32,
}


def text_columns(frame: pl.DataFrame, schema: Schema) -> list[str]:
    """The free text columns of an items table or a catalogue: all that `schema` does not name."""
    return [name for name in frame.columns if name not in schema]


def read_table(path: str | Path, schema: Schema, *, with_text: bool = False) -> pl.DataFrame:
    """Read a Parquet file that an earlier step wrote.

    Args:
        path: the file.
        schema: the columns and types that it must have.
        with_text: further text columns are allowed (items, catalogue).

    Raises:
        ArtifactError: missing or damaged, or other columns or types than `schema`.
    """
    with reading(path):
        frame = pl.read_parquet(path, memory_map=False, glob=False)
    wrong = [f"{name} should be {kind}" for name, kind in schema.items() if frame.schema.get(name) != kind]
    further = text_columns(frame, schema)
    if with_text:
        wrong += [f"{name} should be {pl.String}" for name in further if frame.schema[name] != pl.String]
    else:
        wrong += [f"{name} should not be there" for name in further]
    if wrong:
        raise ArtifactError(f"{path}: not the table it should be: {'; '.join(wrong)}. Run the step that writes it.")
    return frame


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Around what reads a Parquet file, or collects or sets down a query on it.

    Raises:
        ArtifactError: missing or damaged.
        OSError: there is no room for what is set down.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError) as error:
        if (full := os.strerror(errno.ENOSPC)) in str(error):  # polars has no type for it
            raise OSError(errno.ENOSPC, full) from None
        what = "not found" if isinstance(error, FileNotFoundError) else f"damaged ({_first_line(error)})"
        raise ArtifactError(f"{path}: {what}. Run the step that writes it: `dvc repro`.") from None


def scan_table(path: str | Path, schema: Schema) -> pl.LazyFrame:
    """As `read_table`, lazily: columns and types are checked now, rows are read when they are asked for, inside of
    `reading`.

    Raises:
        ArtifactError: as `read_table`.
    """
    try:
        found = pl.read_parquet_schema(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        found = None
    if found != dict(schema):
        read_table(path, schema)  # says what is wrong
    return pl.scan_parquet(path, glob=False)


def write_table(frame: pl.DataFrame, path: str | Path) -> None:
    """Write a Parquet file, whole or not at all. The caller has sorted the rows."""
    with replaced(path) as temporary:
        frame.write_parquet(temporary, compression="zstd", statistics=True, row_group_size=1 << 20)


@contextmanager
def table_writer(
    path: str | Path, schema: Schema, dictionary: Sequence[str] | bool = True
) -> Iterator[Callable[[pl.DataFrame], int]]:
    """Write a Parquet file frame by frame, whole or not at all: for tables that need not be in memory as a whole.

    Gives the function that writes a frame, and says how many rows it had.

    Equal frames in equal pieces give equal bytes.

    Args:
        path: the file.
        schema: its columns and types; each frame is cast to them.
        dictionary: the columns of few different values, or whether to look for them.
    """
    import pyarrow.parquet as pq

    oldest = pl.CompatLevel.oldest()
    types = pl.DataFrame(schema=dict(schema)).to_arrow(compat_level=oldest).schema
    with (
        replaced(path) as temporary,
        pq.ParquetWriter(temporary, types, compression="zstd", use_dictionary=dictionary) as writer,
    ):

        def write(frame: pl.DataFrame) -> int:
            if len(frame):
                cast = frame.select(pl.col(name).cast(kind) for name, kind in schema.items())
                writer.write_table(cast.to_arrow(compat_level=oldest))
            return len(frame)

        yield write


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
