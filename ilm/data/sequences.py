"""The table SEQUENCES, with PART as the type of `part`: whole, as a query, or some users at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.data.batches import ROWS, Batches
from ilm.data.schema import PART, SEQUENCES, reading, scan_table


def read_sequences(path: Path) -> pl.DataFrame:
    """All rows, sorted by user and position.

    Raises:
        ArtifactError: as `read_table`, or `part` has other values.
    """
    with reading(path):
        return scan_sequences(path).collect(engine="streaming")


def train_interactions(path: Path) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """User and item of every row of the train part, [rows] each; nothing else is held.

    Raises:
        ArtifactError: as `read_sequences`.
    """
    rows = scan_sequences(path).filter(pl.col("part") == "train").select("user_index", "item_index")
    with reading(path):
        found = rows.collect(engine="streaming")
    return found["user_index"].to_numpy(), found["item_index"].to_numpy()


def scan_sequences(path: Path) -> pl.LazyFrame:
    """As `read_sequences`, as `scan_table`."""
    return scan_table(path, SEQUENCES).with_columns(pl.col("part").cast(PART))


@dataclass(frozen=True)
class SequencesByUser:
    """Frames of whole users, in order; they can be gone through again and again.

    Raises, while they are gone through:
        ArtifactError: as `read_sequences`.
    """

    path: Path
    at_once: int = ROWS
    """Rows of a frame, about."""

    def __iter__(self) -> Iterator[pl.DataFrame]:
        scan_sequences(self.path)
        held = pl.DataFrame()
        for rows in Batches(self.path, list(SEQUENCES), self.at_once, few=["part"]):
            with reading(self.path):
                coded = rows.with_columns(pl.col("part").cast(PART))
            if len(held):
                users = held["user_index"]
                last = users.search_sorted(users[-1], "left")  # of this user, more may follow
                if last:
                    yield held[:last]
                coded = pl.concat([held[last:], coded])
            held = coded
        if len(held):
            yield held
