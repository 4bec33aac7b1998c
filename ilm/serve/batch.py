"""Recommendations for all users of a model, in shards: a run that is killed goes on where it was, with the same bytes.

The outcome is one Parquet file, sorted by user id (as text) and rank, whose metadata say what made it. Until it is
whole, its shards lie in a folder beside it, with `manifest.json`. A shard is there or not; anybody may fill in those
that are not.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ilm.errors import ArtifactError, LookupFailed
from ilm.files import read_json, replaced, write_json
from ilm.serve.item_language_model import ItemLanguageModel

MANIFEST = "manifest.json"
MADE_BY = b"ilm.recommendations"
"""Key of the manifest in the metadata of the file."""
SHARD_USERS = 1_024
BATCH = 32
"""Users per pass of the model."""
SCHEMA = pa.schema([("user_id", pa.string()), ("rank", pa.int32()), ("item_id", pa.string()), ("score", pa.float32())])


def recommend_all(
    model: ItemLanguageModel, identity: str, out: Path, k: int, shard_users: int = SHARD_USERS
) -> Iterator[tuple[int, bool]]:
    """Write the k best unseen items of every user into the file `out`.

    Gives, after each pass, the number of users and whether the model was asked: what is there already is kept.

    Args:
        model: who recommends.
        identity: tells the model from others: a digest of its files.
        out: a file, new or from an earlier call with the same arguments.
        k: items per user.
        shard_users: users per shard.

    Raises:
        ArtifactError: there is something else.
        LookupFailed: the model has no users.
    """
    users = sorted(model.questions.users())
    if not users:
        raise LookupFailed("this model was handed on without its users, so there is nobody to recommend to.")
    manifest = {"format": 1, "model": identity, "k": k, "users": len(users), "shard_users": shard_users}
    folder = shards_folder(out)
    if not _finished(out, manifest):
        _begin(folder, manifest)
        parts: list[Path] = []
        for start in range(0, len(users), shard_users):
            parts.append(folder / f"{len(parts):05}.parquet")
            yield from _shard(model, users[start : start + shard_users], k, parts[-1])
        _join(parts, out, manifest)
    else:
        yield len(users), False
    shutil.rmtree(folder, ignore_errors=True)


def shards_folder(out: Path) -> Path:
    """Where the shards of a file lie until all are there."""
    return out.with_name(f"{out.name}.shards")


def _finished(out: Path, manifest: dict[str, Any]) -> bool:
    if not out.exists():
        return False
    try:
        found = json.loads((pq.read_schema(out).metadata or {})[MADE_BY])
    except (OSError, KeyError, ValueError):  # a folder, no Parquet file, or somebody else's
        raise ArtifactError(f"{out}: is there already, and holds no recommendations. Name a new file.") from None
    _require_same(found, manifest, out)
    return True


def _begin(folder: Path, manifest: dict[str, Any]) -> None:
    if (folder / MANIFEST).is_file():
        _require_same(read_json(folder / MANIFEST), manifest, folder)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArtifactError(f"{folder}: is there already, and holds no shards. Remove it, or name another file.")
    else:
        write_json(folder / MANIFEST, manifest)


def _require_same(found: Any, manifest: dict[str, Any], path: Path) -> None:
    other = [name for name, value in manifest.items() if not isinstance(found, dict) or found.get(name) != value]
    if other:
        raise ArtifactError(
            f"{path}: holds recommendations with another {', '.join(other)}. Name another file, or remove it."
        )


def _shard(model: ItemLanguageModel, users: Sequence[str], k: int, path: Path) -> Iterator[tuple[int, bool]]:
    if _readable(path):
        yield len(users), False
        return
    rows: dict[str, list[Any]] = {}
    for batch in by_length(model, users):
        questions = [model.questions.recommendation(user=user, k=k) for user in batch]
        rows |= dict(zip(batch, (reply.items for reply in model.answer(questions)), strict=True))
        yield len(batch), True
    with replaced(path) as temporary:
        pq.write_table(_table(users, rows), temporary)


def _readable(path: Path) -> bool:
    """Whether a shard is there; a power cut may leave one that is renamed and empty. It is made again."""
    try:
        return path.is_file() and pq.read_schema(path).equals(SCHEMA)
    except pa.ArrowInvalid:
        return False


def by_length(model: ItemLanguageModel, users: Sequence[str]) -> list[list[str]]:
    """Users with histories of like length together: a pass is as long as its longest prompt."""
    ordered = sorted(users, key=lambda user: (len(model.history(user)), user))
    return [ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)]


def _table(users: Sequence[str], rows: dict[str, list[Any]]) -> pa.Table:
    found = [(user, rank, item) for user in users for rank, item in enumerate(rows[user], start=1)]
    return pa.table(
        {
            "user_id": [user for user, _, _ in found],
            "rank": [rank for _, rank, _ in found],
            "item_id": [item.item_id for _, _, item in found],
            "score": [item.score for _, _, item in found],
        },
        schema=SCHEMA,
    )


def _join(parts: Sequence[Path], out: Path, manifest: dict[str, Any]) -> None:
    """The shards as one file, one after the other, a row group each."""
    schema = SCHEMA.with_metadata({MADE_BY: json.dumps(manifest, sort_keys=True)})
    with replaced(out) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for part in parts:
            writer.write_table(pq.read_table(part).replace_schema_metadata(schema.metadata))
