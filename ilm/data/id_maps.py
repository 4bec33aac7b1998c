"""Ids -> dense indexes that last: an id keeps its index through every later generation; new ids are appended."""

from pathlib import Path

import polars as pl

from ilm.data.schema import ITEM_IDS, USER_IDS, Schema, read_table
from ilm.errors import ArtifactError


def read_previous(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """User and item map of the generation before: `user_ids.parquet` and `item_ids.parquet`; empty if there is none.

    Raises:
        ArtifactError: only one of the two is there, or one is damaged, has gaps, or names an id twice.
    """
    paths = (folder / "user_ids.parquet", folder / "item_ids.parquet")
    there = [path.exists() for path in paths]
    if not any(there):
        return pl.DataFrame(schema=USER_IDS), pl.DataFrame(schema=ITEM_IDS)
    if not all(there):
        here, missing = sorted(paths, key=lambda path: not path.exists())
        raise ArtifactError(f"{missing}: not found, although {here.name} is there. Restore both, or remove both.")
    return _read_map(paths[0], USER_IDS), _read_map(paths[1], ITEM_IDS)


def extend(previous: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
    """The previous map with unseen ids appended in sorted order.

    Args:
        previous: (index, id), indexes 0..n-1 in order; may be empty.
        ids: ids of this generation (texts or Enum), in any order, possibly repeated.
    """
    index, name = previous.columns
    new = ids.rename(name).unique().cast(pl.String).to_frame().join(previous, on=name, how="anti").sort(name)
    numbered = new.with_row_index(index, offset=len(previous)).with_columns(pl.col(index).cast(pl.Int32))
    return pl.concat([previous, numbered.select(index, name)])


def _read_map(path: Path, schema: Schema) -> pl.DataFrame:
    frame = read_table(path, schema)
    index, name = schema
    expected = pl.arange(len(frame), dtype=pl.Int32, eager=True)
    if (
        not frame[index].equals(expected.rename(index))
        or frame[name].null_count()
        or frame[name].n_unique() < len(frame)
    ):
        raise ArtifactError(
            f"{path}: damaged id map: {index} must count 0, 1, 2, … without a gap and every {name} stand once. "
            "Restore it from the last good generation; with a new map every trained vector would point elsewhere."
        )
    return frame
