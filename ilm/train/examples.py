"""The examples of the recommendation tasks as arrays for training; pyarrow and numpy only, as `ilm.train.features`."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from ilm.prompts.material import Choices, Histories
from ilm.train.features import integers, read_columns


def read_examples(path: Path, task: str, split: str) -> Choices:
    """Histories (oldest first) and targets [m] of one task ("sequential", "straightforward") and split ("train",
    "valid", "test"); nothing else is read where the file is sorted by these."""
    table = read_columns(path, ["history", "target"], [("task", "=", task), ("split", "=", split)])
    values = pc.list_flatten(table["history"]).to_numpy()
    ends = np.cumsum(pc.list_value_length(table["history"]).to_numpy(), dtype=np.int64)
    return Choices(Histories(values.astype(np.int32, copy=False), ends), integers(table, "target"))
