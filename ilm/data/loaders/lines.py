"""Text files of one record per line, plain, gzipped or inside a zip archive, as numbered lines."""

import io
import zipfile
from pathlib import Path

import polars as pl

from ilm.data.raw import ROW
from ilm.errors import DataError

LINE = "line"
"""Name of the column with a line's text. It stays, for lines that cannot be read, so that the quarantine shows them."""


def scan_lines(path: Path) -> pl.LazyFrame:
    """The non-empty lines of a UTF-8 file (.gz is unpacked on the way), lazily: ROW, counted from 1, and LINE."""
    return _numbered(path)


def read_lines(path: Path, member: str, encoding: str) -> pl.DataFrame:
    """The non-empty lines of `member`, in a folder or in a zip archive, wherever in the archive it lies.

    Raises:
        DataError: there is no such file, or it is empty or not of this encoding, or the archive is damaged.
    """
    try:
        content = _member(path, member) if path.is_file() else (path / member).read_bytes()
        rows = _numbered(io.BytesIO(content.decode(encoding).encode())).collect()
    except FileNotFoundError:
        raise DataError(f"{path}: no {member}. Unpack the distribution again, or give its zip archive.") from None
    except (zipfile.BadZipFile, EOFError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}, {member}: damaged or cut off ({error}). Download it again.") from None
    if rows.is_empty():
        raise DataError(f"{path}, {member}: the file is empty. Download it again.")
    return rows


def collect(lines: pl.LazyFrame, path: Path) -> pl.DataFrame:
    """Run what was built on `scan_lines`, in batches.

    Raises:
        DataError: the file is cut off, damaged or not UTF-8.
    """
    try:
        return lines.collect(engine="streaming")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise DataError(f"{path}: damaged, cut off, or not UTF-8 text ({reason}). Download it again.") from None


def kept_where(broken: pl.Expr) -> pl.Expr:
    """LINE, cut at 500 characters, of broken lines; null for all others, which saves the memory."""
    return pl.when(broken).then(pl.col(LINE).str.slice(0, 500)).alias(LINE)


def _numbered(source: Path | io.BytesIO) -> pl.LazyFrame:
    lines = pl.scan_lines(source, name=LINE, row_index_name=ROW, row_index_offset=1)
    return lines.filter(pl.col(LINE).str.strip_chars() != "")


def _member(archive: Path, member: str) -> bytes:
    with zipfile.ZipFile(archive) as opened:
        found = [name for name in opened.namelist() if Path(name).name == member and "__MACOSX" not in name]
        if not found:
            raise FileNotFoundError(member)
        return opened.read(found[0])
