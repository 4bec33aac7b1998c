"""Text files of one record per line, plain, gzipped or inside a zip archive, as numbered lines."""

import io
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from ilm.data.raw import ROW
from ilm.errors import DataError

LINE = "line"
"""Name of the column with a line's text. It stays, for lines that cannot be read, so that the quarantine shows them."""


def scan_lines(path: Path, first_row: int = 1) -> pl.LazyFrame:
    """The non-empty lines of a UTF-8 file (.gz is unpacked on the way), lazily: ROW, from `first_row` on, and LINE."""
    return _numbered(path, first_row)


def has_member(path: Path, member: str) -> bool:
    """Whether a folder, or a zip archive wherever in it, holds a file of that name."""
    if path.is_dir():
        return (path / member).is_file()
    try:
        with zipfile.ZipFile(path) as opened:
            return _place_in(opened, member) is not None
    except (zipfile.BadZipFile, OSError):
        return False


@contextmanager
def unpacked(path: Path, member: str) -> Iterator[Path]:
    """The file `member` of a folder; or, of a zip archive, a temporary copy of it, made in small pieces.

    Raises:
        DataError: there is no such file, or the archive is damaged.
    """
    if not path.is_file():
        if not (path / member).is_file():
            raise _missing(path, member)
        yield path / member
        return
    with tempfile.TemporaryDirectory(prefix="ilm-") as folder:
        copy = Path(folder) / member
        try:
            with zipfile.ZipFile(path) as archive:
                place = _place_in(archive, member)
                if place is None:
                    raise _missing(path, member)
                with archive.open(place) as packed, copy.open("wb") as plain:
                    shutil.copyfileobj(packed, plain, 1 << 20)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise DataError(f"{path}, {member}: damaged or cut off ({error}). Download it again.") from None
        except OSError as error:
            raise DataError(f"{path}, {member}: cannot be unpacked to {folder} ({error}). Make room.") from None
        yield copy


def read_lines(path: Path, member: str, encoding: str) -> pl.DataFrame:
    """The non-empty lines of `member`, in a folder or in a zip archive, wherever in the archive it lies.

    Raises:
        DataError: there is no such file, or it is empty or not of this encoding, or the archive is damaged.
    """
    try:
        content = _member(path, member) if path.is_file() else (path / member).read_bytes()
        rows = _numbered(io.BytesIO(content.decode(encoding).encode())).collect()
    except FileNotFoundError:
        raise _missing(path, member) from None
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


def _numbered(source: Path | io.BytesIO, first_row: int = 1) -> pl.LazyFrame:
    lines = pl.scan_lines(source, name=LINE, row_index_name=ROW, row_index_offset=first_row)
    return lines.filter(pl.col(LINE).str.strip_chars() != "")


def _member(archive: Path, member: str) -> bytes:
    with zipfile.ZipFile(archive) as opened:
        place = _place_in(opened, member)
        if place is None:
            raise FileNotFoundError(member)
        return opened.read(place)


def _place_in(archive: zipfile.ZipFile, member: str) -> str | None:
    """Full name of a file in an archive."""
    names = archive.namelist()
    return next((name for name in names if Path(name).name == member and "__MACOSX" not in name), None)


def _missing(path: Path, member: str) -> DataError:
    return DataError(f"{path}: no {member}. Unpack the distribution again, or give its zip archive.")
