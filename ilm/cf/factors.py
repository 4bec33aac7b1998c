"""The CF vectors on disk: one safetensors file with item and user factors and the identity of their space.

safetensors writes metadata in the order of a randomly seeded hash map, so a file with two metadata keys differs from
one process to the next. All of ours therefore lie in one key, `cf`, as a JSON text with sorted keys: equal factors
give equal bytes.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ilm.errors import ArtifactError
from ilm.files import replaced

_METADATA_KEY = "cf"
_METADATA_TYPES = {
    "space_id": str,
    "item_map_hash": str,
    "user_map_hash": str,
    "factors": int,
    "regularization": float,
    "alpha": float,
    "iterations": int,
    "seed": int,
}


@dataclass(frozen=True)
class Factors:
    """CF vectors, the settings of their fit, and the id maps that number their rows."""

    item_factors: NDArray[np.float32]
    """[n_items, d]; row = item_index. Items without a training interaction are all zeros."""
    user_factors: NDArray[np.float32]
    """[n_users, d]; row = user_index. Users without a training interaction are all zeros."""
    space_id: str
    """Vectors may be mixed only when these 16 hexadecimal digits are equal; see `space_identity`."""
    item_map_hash: str
    user_map_hash: str
    regularization: float
    alpha: float
    """Confidence of an observed interaction is 1 + alpha."""
    iterations: int
    seed: int


def space_identity(
    item_factors: NDArray[np.float32],
    *,
    regularization: float,
    alpha: float,
    iterations: int,
    seed: int,
    item_map_hash: str,
    user_map_hash: str,
) -> str:
    """Name a vector space: 16 hexadecimal digits of a SHA-256 over item factors, fit settings and id maps."""
    described = {
        "shape": list(item_factors.shape),
        "regularization": float(regularization),
        "alpha": float(alpha),
        "iterations": iterations,
        "seed": seed,
        "item_map_hash": item_map_hash,
        "user_map_hash": user_map_hash,
    }
    whole = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    whole.update(np.ascontiguousarray(item_factors, dtype="<f4").tobytes())
    return whole.hexdigest()[:16]


def save(path: str | Path, factors: Factors) -> None:
    """Write the factors, whole or not at all; equal factors give equal bytes.

    Raises:
        ArtifactError: an array is not a finite float32 matrix, or the two widths differ.
    """
    arrays = {"item_factors": factors.item_factors, "user_factors": factors.user_factors}
    _require_sound(arrays, Path(path))
    metadata = {name: getattr(factors, name) for name in _METADATA_TYPES if name != "factors"}
    metadata["factors"] = int(factors.item_factors.shape[1])
    text = json.dumps(metadata, sort_keys=True)
    with replaced(path) as temporary:
        save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, temporary, {_METADATA_KEY: text})


def load(path: str | Path) -> Factors:
    """Read factors, strictly.

    Raises:
        ArtifactError: the file is missing or damaged; a tensor or a metadata value is missing, unknown or of the
            wrong type; an array has the wrong dtype or shape or holds NaN or infinity.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"{path}: not found. Run the step that writes it: `dvc repro cf`.")
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path}: damaged ({error}). Delete it and run `dvc repro cf`.") from None
    if set(arrays) != {"item_factors", "user_factors"}:
        raise ArtifactError(f"{path}: holds {sorted(arrays)} instead of item_factors and user_factors. {_REMAKE}")
    _require_sound(arrays, path)
    metadata = _checked_metadata(header, path)
    if metadata.pop("factors") != arrays["item_factors"].shape[1]:
        raise ArtifactError(f"{path}: metadata `factors` is not the width of item_factors. {_REMAKE}")
    return Factors(item_factors=arrays["item_factors"], user_factors=arrays["user_factors"], **metadata)


def require_space(factors: Factors, space_id: str, where: str) -> None:
    """Refuse vectors of another space than the one that `where` (a file, a model) was made with.

    Raises:
        ArtifactError: the space ids differ.
    """
    if factors.space_id != space_id:
        raise ArtifactError(
            f"{where}: made for CF space {space_id!r}, but the CF vectors are of space {factors.space_id!r}. "
            "Their numbers mean different things; make both from one run (`dvc repro`) or load the matching files."
        )


_REMAKE = "Not a file of this project's `cf` step, or of another version: run `dvc repro cf`."


def _require_sound(arrays: dict[str, NDArray[Any]], path: Path) -> None:
    for name, array in arrays.items():
        if array.dtype != np.float32 or array.ndim != 2 or not array.size:
            raise ArtifactError(f"{path}: {name} is {array.dtype} {array.shape}, not a float32 matrix. {_REMAKE}")
        if not np.isfinite(array).all():
            row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
            raise ArtifactError(f"{path}: {name} holds NaN or infinity (first in row {row}). {_REMAKE}")
    widths = {name: array.shape[1] for name, array in arrays.items()}
    if len(set(widths.values())) > 1:
        raise ArtifactError(f"{path}: item and user vectors have different widths ({widths}). {_REMAKE}")


def _checked_metadata(header: dict[str, str], path: Path) -> dict[str, Any]:
    """Parse the one metadata text; exactly the known names, each of its type."""
    try:
        metadata = json.loads(header[_METADATA_KEY])
        wrong = [n for n, kind in _METADATA_TYPES.items() if type(metadata[n]) is not kind]
        unknown = sorted(set(metadata) - set(_METADATA_TYPES))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: metadata missing or unreadable ({error!r}). {_REMAKE}") from None
    if wrong or unknown:
        raise ArtifactError(f"{path}: metadata of wrong type {wrong} or unknown {unknown}. {_REMAKE}")
    return dict(metadata)
