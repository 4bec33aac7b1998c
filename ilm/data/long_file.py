"""A file of interactions that is too long to be held in memory whole is told before it is read."""

import gzip
from pathlib import Path
from typing import IO, cast

from ilm.data.folder import FORMATS
from ilm.errors import DataError
from ilm.free_memory import free_memory

BYTES_A_ROW = 320
"""Of memory that reading takes at its peak, with user_id, item_id and timestamp; measured at 5 million rows."""
_SAMPLE = 1 << 20


def require_room(folder: Path, logs: str) -> None:
    """Look at `interactions.*` in a folder, if it is there.

    Args:
        folder: of the source.
        logs: `data.logs`, where a long log belongs.

    Raises:
        DataError: it will not fit into the memory at hand.
    """
    for path in (folder / f"interactions.{suffix}" for suffix in FORMATS):
        if path.is_file():
            require_room_for(
                path,
                f"move the file to {logs}/, and leave only the items in {folder}. Log files are read a day at a time; "
                "they need timestamps",
            )


def require_room_for(path: Path, instead: str) -> None:
    """Raises DataError if a file of interactions will not fit into the memory at hand; `instead`: what to do."""
    free, rows = free_memory(), estimated_rows(path)
    if free is not None and rows * BYTES_A_ROW > free:
        raise DataError(
            f"{path}: about {rows:,} interactions, which take {rows * BYTES_A_ROW / 1e9:,.1f} GB of memory to be read "
            f"at once, and {free / 1e9:,.1f} GB are free. Instead, {instead}."
        )


def estimated_rows(path: Path) -> int:
    """Rows of a Parquet file; lines of text, if all are as long as the first ones; 0 for what cannot be read."""
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            return int(pq.read_metadata(path).num_rows)
        with path.open("rb") as packed:
            text = cast("IO[bytes]", gzip.GzipFile(fileobj=packed) if path.suffix == ".gz" else packed)
            lines = text.read(_SAMPLE).count(b"\n")
            return round(lines * path.stat().st_size / max(packed.tell(), 1))
    except (OSError, EOFError, ValueError):  # of pyarrow too: its errors are of these
        return 0
