"""Recommendations for all users of a model, in shards: a run that is killed goes on where it was, with the same bytes.

The outcome is one Parquet file, sorted by user id (as text) and rank, whose metadata say what made it. Until it is
whole, its shards lie in a folder beside it, with `manifest.json`. A shard is there or not; anybody may fill in those
that are not, in any order: `ilm.serve.batch_engines` has who does.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
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
SHARD_USERS = 256
BATCH = 32
"""Users per pass of the model."""
SCHEMA = pa.schema([("user_id", pa.string()), ("rank", pa.int32()), ("item_id", pa.string()), ("score", pa.float32())])


class AllUsers:
    """The k best unseen items of every user, to be written into the file `out`.

    Args:
        model: who recommends.
        identity: tells the model from others: a digest of its files.
        out: a file, new or from an earlier call with the same arguments.
        k: items per user.
        shard_users: users per shard.

    Raises:
        LookupFailed: the model has no users.
    """

    def __init__(
        self, model: ItemLanguageModel, identity: str, out: Path, k: int, shard_users: int = SHARD_USERS
    ) -> None:
        self.users = sorted(model.questions.users())
        if not self.users:
            raise LookupFailed("this model was handed on without its users, so there is nobody to recommend to.")
        self._model, self._out, self._k, self._size = model, out, k, shard_users
        self._folder = shards_folder(out)
        self._manifest = {
            "format": 1, "model": identity, "k": k, "users": len(self.users), "shard_users": shard_users,
        }  # fmt: skip

    def begin(self) -> list[int]:
        """The shards that are not there yet, none if the file is whole.

        Raises:
            ArtifactError: there is something else.
        """
        if _finished(self._out, self._manifest):
            shutil.rmtree(self._folder, ignore_errors=True)
            return []
        _begin(self._folder, self._manifest)
        return [shard for shard in range(self._shards()) if not _readable(self._path(shard))]

    def users_of(self, shard: int) -> list[str]:
        """Whom a shard is for."""
        return self.users[shard * self._size : (shard + 1) * self._size]

    def fill(self, shard: int) -> Iterator[int]:
        """Ask the model, write the shard; gives the number of users after each pass."""
        users = self.users_of(shard)
        rows: dict[str, list[Any]] = {}
        for batch in by_length(self._model, users):
            questions = [self._model.questions.recommendation(user=user, k=self._k) for user in batch]
            rows |= dict(zip(batch, (reply.items for reply in self._model.answer(questions)), strict=True))
            yield len(batch)
        with replaced(self._path(shard)) as temporary:
            pq.write_table(_table(users, rows), temporary)

    def fill_all(self, shards: list[int]) -> Iterator[int]:
        """`fill`, one after the other."""
        return chain.from_iterable(map(self.fill, shards))

    def finish(self) -> None:
        """Make the shards one file, one after the other, a row group each; and remove them. Nothing if that is done.

        Raises:
            ArtifactError: a shard is not there.
        """
        if self._out.exists():
            return
        parts = [self._path(shard) for shard in range(self._shards())]
        missing = [part.name for part in parts if not _readable(part)]
        if missing:
            raise ArtifactError(
                f"{self._folder}: {', '.join(missing[:3])} not made. Run the command again; it goes on."
            )
        schema = SCHEMA.with_metadata({MADE_BY: json.dumps(self._manifest, sort_keys=True)})
        with replaced(self._out) as temporary, pq.ParquetWriter(temporary, schema) as writer:
            for part in parts:
                writer.write_table(pq.read_table(part).replace_schema_metadata(schema.metadata))
        shutil.rmtree(self._folder, ignore_errors=True)

    def _shards(self) -> int:
        return -(-len(self.users) // self._size)

    def _path(self, shard: int) -> Path:
        return self._folder / f"{shard:05}.parquet"


def recommend_all(
    work: AllUsers, fill: Callable[[list[int]], Iterator[int]] | None = None
) -> Iterator[tuple[int, bool]]:
    """Do all of the work that is not done yet.

    Gives, after each pass, the number of users and whether the model was asked: what is there already is kept.

    Args:
        work: what there is to do.
        fill: fills in shards, and gives the number of users after each pass; this process does, if not said.

    Raises:
        ArtifactError: as `begin` and `finish`.
    """
    missing = work.begin()
    kept = len(work.users) - sum(len(work.users_of(shard)) for shard in missing)
    if kept:
        yield kept, False
    if missing:
        for users in (fill or work.fill_all)(missing):
            yield users, True
    work.finish()


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
