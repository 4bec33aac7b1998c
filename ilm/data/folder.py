"""The user's own files: interactions.(parquet|csv|jsonl) and items.(parquet|csv|jsonl) in one folder.

Whatever is wrong with a file as a file ends in one DataError that says where. What its columns mean is not looked at.
"""

import csv
import gzip
import json
import zlib
from pathlib import Path

import polars as pl

from ilm.data.raw import ROW
from ilm.errors import DataError

FORMATS = ("parquet", "csv", "jsonl")


def read_file(folder: Path, stem: str) -> tuple[str, pl.DataFrame]:
    """Read `stem`.parquet, .csv or .jsonl, whichever one is there.

    CSV is comma-separated UTF-8 with a header; its values all come as text. JSONL has one object per line.

    Args:
        folder: where the files lie.
        stem: "interactions" or "items".

    Returns:
        File name, and its rows with their 1-based number in ROW.

    Raises:
        DataError: none or several such files, or one that is empty, damaged, malformed or not UTF-8.
    """
    path = _the_only(folder, stem)
    return path.name, read_whole(path)


def read_whole(path: Path) -> pl.DataFrame:
    """The rows of a .parquet, .csv or .jsonl file (of the last two, also .gz), numbered from 1 in ROW.

    Raises:
        DataError: empty, damaged, malformed or not UTF-8.
    """
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty. Export it again.")
    try:
        rows = _parse(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, EOFError, zlib.error) as error:
        raise _explained(path, error) from None
    repeated = [name for name in rows.columns if name.removesuffix("_duplicated_0") in set(rows.columns) - {name}]
    if ".csv" in path.suffixes and repeated:
        raise DataError(f"{path}: two columns are called {repeated[0].removesuffix('_duplicated_0')}. Rename one.")
    if rows.is_empty():
        raise DataError(f"{path}: no rows, only column names. Export it again.")
    return rows


def has_file(folder: Path, stem: str) -> bool:
    """Whether `stem`.parquet, .csv or .jsonl is there."""
    return any((folder / f"{stem}.{suffix}").is_file() for suffix in FORMATS)


def _the_only(folder: Path, stem: str) -> Path:
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder. Create it, or set data.folder in params.yaml to where your files are."
        )
    found = [folder / f"{stem}.{suffix}" for suffix in FORMATS if (folder / f"{stem}.{suffix}").is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(
            f"{folder}: {' and '.join(path.name for path in found)} are both there, and it is not clear which counts. "
            "Remove one."
        )
    there = ", ".join(sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))) or "nothing"
    titles = {
        "items": " The text-based steps need a title for every item.",
        "interactions": " (Or, in data.logs, log files.)",
    }
    raise DataError(
        f"{folder}: no {stem}.parquet, {stem}.csv or {stem}.jsonl (the folder has: {there}).{titles[stem]} "
        "Add the file, or set data.folder in params.yaml."
    )


def _parse(path: Path) -> pl.DataFrame:
    if path.suffix == ".parquet":
        return pl.read_parquet(path, glob=False, memory_map=False).with_row_index(ROW, offset=1)
    content: Path | bytes = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path
    if ".jsonl" in path.suffixes:
        return pl.read_ndjson(content, infer_schema_length=None).with_row_index(ROW, offset=1)
    rows = pl.read_csv(content, infer_schema=False, glob=False)
    blank_line = pl.all_horizontal(pl.all().is_null())
    return rows.with_row_index(ROW, offset=1).filter(~rows.select(blank_line).to_series())


def _explained(path: Path, error: BaseException) -> DataError:
    """Say in which line of a text file the trouble is; polars does not."""
    if isinstance(error, PermissionError):
        return DataError(f"{path}: may not be read. Check its permissions.")
    if path.suffix in (".parquet", ".gz"):
        reason = str(error).strip().split("\n")[0]
        kind = "Parquet" if path.suffix == ".parquet" else "gzip"
        return DataError(f"{path}: damaged or cut off, not a whole {kind} file ({reason}). Export or copy it again.")
    try:
        found = _first_bad_csv_line(path) if path.suffix == ".csv" else _first_bad_json_line(path)
    except UnicodeDecodeError:
        line = _first_line_not_utf8(path)
        return DataError(f"{path}, line {line}: not UTF-8 text. Save the file as UTF-8 (iconv -f ORIGINAL -t UTF-8).")
    if not found:
        found = f": not readable ({str(error).strip().split(chr(10))[0]})"
    return DataError(f"{path}{found}. Mend the file or export it again.")


def _first_bad_csv_line(path: Path) -> str:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            width = len(next(reader))
            for record in reader:
                if len(record) > width:
                    return f", line {reader.line_num}: {len(record)} values, but {width} columns"
        except csv.Error as error:
            return f", line {reader.line_num}: malformed CSV, probably a quotation mark ({error})"
    return ""


def _first_bad_json_line(path: Path) -> str:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            try:
                value = json.loads(line) if line.strip() else {}
            except json.JSONDecodeError as error:
                return f", line {number}: malformed JSON ({error.msg} at character {error.pos + 1})"
            if not isinstance(value, dict):
                return f', line {number}: not a JSON object such as {{"user_id": "u1", …}}'
    return ""


def _first_line_not_utf8(path: Path) -> int:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 0
