"""What a result is kept under: a digest of everything that shapes it. Equal work is done once, and nothing is mixed."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ilm.files import digest, read_json, write_json

ROOT = Path(__file__).parents[1]


def key_of(settings: Any, inputs: Sequence[Path], code: Sequence[str]) -> str:
    """16 hexadecimal digits of a SHA-256.

    Args:
        settings: plain values.
        inputs: files or folders that are read.
        code: modules and folders of `ilm` that compute the result, such as "model" or "eval/protocol.py".
    """
    whole = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in inputs:
        whole.update(f"{path.name} {_unchanged(path.resolve(), _state(path))}\n".encode())
    for name in code:
        whole.update(f"{name} {_code(name)}\n".encode())
    return whole.hexdigest()[:16]


def once(out: Path, make: Callable[[], None], name: str) -> dict[str, float]:
    """Make `out` unless it is there; gives {name: seconds} that it took then (its last attempt), if they are known."""
    cost = out.with_name(f"{out.name}.json")
    if not out.exists():
        start = time.monotonic()
        make()
        write_json(cost, {"seconds": round(time.monotonic() - start, 2)})
    return {name: float(read_json(cost)["seconds"])} if cost.exists() else {}


@cache
def _code(name: str) -> str:
    """As it was when this process first asked: what is imported does not change under a run either."""
    place = ROOT / name
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    listing = "".join(f"{file.relative_to(ROOT).as_posix()} {digest(file)}\n" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()


@cache
def _unchanged(path: Path, state: tuple[tuple[str, int, int], ...]) -> str:
    return digest(path)


def _state(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of the files: while these are equal, the digest is not computed anew."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return tuple((str(file), (found := file.stat()).st_size, found.st_mtime_ns) for file in files if file.exists())
