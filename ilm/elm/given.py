"""Reference texts that somebody has already: a Parquet or JSON Lines file with a row per text."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from ilm.elm.plan import Texts
from ilm.elm.tasks import ALONE, TASKS
from ilm.errors import DataError

NEEDED = ("task", "item_id", "text")
OTHER = "other_item_id"


def read_given(path: Path, item_ids: Sequence[str]) -> tuple[Texts, int]:
    """The texts by task and item indexes, and the number of rows that are about items which the catalogue lacks.

    Args:
        path: columns task, item_id and text; of tasks with two items also other_item_id (else null).
        item_ids: of the catalogue, by item index.

    Raises:
        DataError: not readable; a column, task or text is missing or wrong; an other item where none belongs, or none
            where one does; or two texts for the same task and items. Rows count from 1.
    """
    table = _read(path)
    missing = [name for name in NEEDED if name not in table.column_names]
    if missing:
        raise DataError(f"{path}: has no column {', '.join(missing)}. It needs {', '.join(NEEDED)} (docs/elm-24.md).")
    index = {item_id: number for number, item_id in enumerate(item_ids)}
    others = table[OTHER].to_pylist() if OTHER in table.column_names else [None] * len(table)
    columns = (table[name].to_pylist() for name in NEEDED)
    texts: dict[tuple[str, int, int], str] = {}
    unknown = 0
    for row, (task, item_id, text, other_id) in enumerate(zip(*columns, others, strict=True), start=1):
        _require_whole(f"{path}, row {row}", task, text, other_id)
        ids = [str(item_id)] if other_id is None else [str(item_id), str(other_id)]
        if not set(ids) <= index.keys():
            unknown += 1
            continue
        key = (task, index[ids[0]], index[ids[1]] if len(ids) > 1 else ALONE)
        if key in texts:
            raise DataError(f"{path}, row {row}: a second text of {task} for {' and '.join(ids)}. Keep one of them.")
        texts[key] = " ".join(text.split())
    return texts, unknown


def _require_whole(where: str, task: object, text: object, other_id: object) -> None:
    if task not in TASKS:
        raise DataError(f"{where}: no task is called {task!r}; there are {', '.join(TASKS)}.")
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where}: the text is empty. Leave the row out, or write one.")
    if (other_id is None) != (TASKS[str(task)].other == "none"):
        wrong = "needs an other_item_id" if other_id is None else "is about one item: leave other_item_id empty"
        raise DataError(f"{where}: the task {task} {wrong}.")


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path) if path.suffix == ".parquet" else pj.read_json(path)
    except (OSError, pa.ArrowInvalid) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: not readable as Parquet or JSON Lines ({reason}). Correct elm.file.") from None
