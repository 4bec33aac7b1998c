"""CSV and JSON lines, block by block.

What polars refuses in a block is looked for line by line: such lines go to quarantine, the others go on.
"""

import csv
import io
import json
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

import polars as pl

from ilm.data.logs.files import Rejected
from ilm.data.raw import ROW

BLOCK_BYTES = 1 << 25
SAMPLED_LINES = 1000
"""Lines of JSON by which the names of columns are known."""
LINE_SHOWN = 500
"""Characters kept of a line that cannot be read."""

LINE_UNREADABLE = "line_unreadable"
MEANING = "the line is no record: too many values, broken quotation marks, no JSON object, or not UTF-8"

_BOM = b"\xef\xbb\xbf"
_REFUSED = (pl.exceptions.PolarsError, pl.exceptions.PanicException)

Rows = tuple[pl.DataFrame, pl.DataFrame, int]
"""Rows with ROW, 1-based within the block; ROW and `record` of the lines that are no rows; how many there are of both,
with blank lines where these count."""


def csv_header(file: IO[bytes]) -> tuple[list[str], bytes]:
    """Column names, and the line as it stands there; the file is then at its first row.

    Raises:
        Rejected: the line is no header, or names a column twice.
    """
    line = file.readline().removeprefix(_BOM).rstrip(b"\r\n") + b"\n"
    try:
        names = next(csv.reader([line.decode("utf-8")], strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        raise Rejected("file_damaged", "the first line is no line of column names in UTF-8") from None
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated or not any(names):
        raise Rejected("file_damaged", f"two columns are called {repeated[0]!r}" if repeated else "no column names")
    return names, line


def csv_blocks(file: IO[bytes], columns: list[str]) -> Iterator[Rows]:
    """Rows of a file with a header; blank lines count, but are no rows."""
    names, header = csv_header(file)
    for piece in _pieces(file, quoted=True):
        parsed = _parsed_csv(header, piece)
        rows, unreadable, count = _csv_lines(piece, names) if parsed is None else _numbered(parsed)
        blank = pl.all_horizontal(pl.exclude(ROW).is_null())
        yield rows.filter(~blank).select(ROW, *columns), unreadable, count


def json_names(file: IO[bytes]) -> list[str]:
    """Names that the first lines have, in order of their first appearance.

    Raises:
        Rejected: no line among them has a name.
    """
    records = (_json_object(line) for line in islice(file, SAMPLED_LINES))
    names = list(dict.fromkeys(name for record in records if record for name in record))
    if not names:
        raise Rejected("file_damaged", f"no JSON object among the first {SAMPLED_LINES:,} lines; each line must be one")
    return names


def json_blocks(file: IO[bytes], columns: list[str]) -> Iterator[Rows]:
    """Rows of a file with one JSON object per line; blank lines do not count."""
    schema = dict.fromkeys(columns, pl.String())
    if file.read(len(_BOM)) != _BOM:
        file.seek(0)
    for piece in _pieces(file, quoted=False):
        try:
            yield _numbered(pl.read_ndjson(piece, schema=schema))
        except _REFUSED:
            yield _json_lines(piece, columns)


def no_lines() -> pl.DataFrame:
    """No unreadable line."""
    return _unreadable([])


def _numbered(rows: pl.DataFrame) -> Rows:
    return rows.with_row_index(ROW, offset=1), no_lines(), len(rows)


def _pieces(file: IO[bytes], *, quoted: bool) -> Iterator[bytes]:
    """Whole lines, about `BLOCK_BYTES` at a time; `quoted`: no cut inside quotation marks, unless these never end."""
    rest = b""
    while block := file.read(BLOCK_BYTES):
        rest += block
        cut = rest.rfind(b"\n") + 1
        while quoted and cut and len(rest) < 4 * BLOCK_BYTES and rest.count(b'"', 0, cut) % 2:
            cut = rest.rfind(b"\n", 0, rest.rfind(b'"', 0, cut)) + 1
        if cut:
            yield rest[:cut]
            rest = rest[cut:]
    if rest:
        yield rest


def _parsed_csv(header: bytes, piece: bytes) -> pl.DataFrame | None:
    """None if a line is malformed: then polars refuses it, or swallows lines between stray quotation marks."""
    try:
        rows = pl.read_csv(header + piece, infer_schema=False)
        if b'"' in piece and len(rows) != piece.count(b"\n") + (not piece.endswith(b"\n")):
            for _ in csv.reader(io.StringIO(piece.decode("utf-8"), newline=""), strict=True):
                pass
    except (*_REFUSED, UnicodeDecodeError, csv.Error):
        return None
    return rows


def _csv_lines(piece: bytes, names: list[str]) -> Rows:
    """Line by line; a record over several lines counts as unreadable here."""
    good: list[tuple[object, ...]] = []
    bad = []
    for number, line in enumerate(piece.removesuffix(b"\n").split(b"\n"), start=1):
        try:
            record = next(csv.reader([line.decode("utf-8").rstrip("\r")], strict=True), [])
        except (UnicodeDecodeError, csv.Error):
            bad.append((number, line))
            continue
        if len(record) > len(names):
            bad.append((number, line))
        else:
            good.append((number, *(value or None for value in record), *[None] * (len(names) - len(record))))
    return _rows(good, names), _unreadable(bad), len(good) + len(bad)


def _json_lines(piece: bytes, columns: list[str]) -> Rows:
    good: list[tuple[object, ...]] = []
    bad = []
    for number, line in enumerate((line for line in piece.split(b"\n") if line.strip()), start=1):
        record = _json_object(line)
        if record is None:
            bad.append((number, line))
        else:
            good.append((number, *(_as_text(record.get(name)) for name in columns)))
    return _rows(good, columns), _unreadable(bad), len(good) + len(bad)


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line.removeprefix(_BOM))
    except (ValueError, RecursionError):  # both of JSON and of UTF-8
        return None
    return record if isinstance(record, dict) else None


def _as_text(value: Any) -> str | None:
    """As polars writes a JSON value as text: 4.0 is "4"."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def _rows(rows: list[tuple[object, ...]], names: list[str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={ROW: pl.UInt32(), **dict.fromkeys(names, pl.String())}, orient="row")


def _unreadable(lines: list[tuple[int, bytes]]) -> pl.DataFrame:
    records = [(number, line.decode("utf-8", errors="replace")[:LINE_SHOWN]) for number, line in lines]
    return pl.DataFrame(records, schema={ROW: pl.UInt32, "record": pl.String}, orient="row")
