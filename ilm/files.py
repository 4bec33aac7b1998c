"""Whole files or none: write to a temporary name, then rename. And content hashes of files and folders."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ilm.errors import ArtifactError


@contextmanager
def replaced(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes the place of `path`, on failure it is removed.

    Works for a file or for a folder (make the folder at the temporary path).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent)) / path.name
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary.parent, ignore_errors=True)


@contextmanager
def scratch(beside: str | Path) -> Iterator[Path]:
    """An empty folder on the disk of a file that is to be written. It goes when it is left; what a process that was
    killed left of it goes now."""
    folder = Path(beside).with_name(f".{Path(beside).name}.scratch")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 file, whole or not at all."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON with sorted keys, so that equal values give equal bytes. NaN is refused (ValueError)."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path}: not found. Run the step that writes it: `ilm train` or `dvc repro`.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: damaged ({error}). Delete it and run the step again.") from None


def digest(path: str | Path, algorithm: str = "sha256") -> str:
    """Hash a file, or a folder's files with their relative names, in sorted order; hexadecimal."""
    path = Path(path)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    if not path.is_dir():
        raise ArtifactError(f"{path}: not found, so it cannot be hashed. Run the step that writes it.")
    whole = hashlib.new(algorithm)
    for file_path in sorted(p for p in path.rglob("*") if p.is_file()):
        whole.update(f"{file_path.relative_to(path).as_posix()}\0{digest(file_path, algorithm)}\n".encode())
    return whole.hexdigest()
