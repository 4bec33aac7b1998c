"""Recommendations for all users of a model, in shards: a run that is killed goes on where it was, with the same bytes.

The outcome is a folder that Parquet readers take as one table: `part-00000.parquet`, …, sorted by user id (as text) and
rank. `_manifest.json` says what is in it, `_SUCCESS` that it is complete; readers pass over both.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ilm.errors import ArtifactError
from ilm.files import read_json, replaced, write_json, write_text
from ilm.serve.item_language_model import ItemLanguageModel

MANIFEST, SUCCESS = "_manifest.json", "_SUCCESS"
SHARD_USERS = 1_024
BATCH = 32
"""Users per pass of the model."""
SCHEMA = pa.schema([("user_id", pa.string()), ("rank", pa.int32()), ("item_id", pa.string()), ("score", pa.float32())])


def recommend_all(
    model: ItemLanguageModel, identity: str, out: Path, k: int, shard_users: int = SHARD_USERS
) -> Iterator[tuple[int, bool]]:
    """Write the k best unseen items of every user into the folder `out`.

    Gives, after each pass, the number of users and whether the model was asked: shards that are there already are kept.

    Args:
        model: who recommends.
        identity: tells the model from others: a digest of its files.
        out: a folder, new or from an earlier call with the same arguments.
        k: items per user.
        shard_users: users per file.

    Raises:
        ArtifactError: the folder holds something else.
    """
    users = sorted(model.questions.users())
    wanted = {"format": 1, "model": identity, "k": k, "users": len(users), "shard_users": shard_users}
    _begin(out, wanted)
    shards = [users[start : start + shard_users] for start in range(0, len(users), shard_users)]
    for number, shard in enumerate(shards):
        part = out / f"part-{number:05}.parquet"
        if part.exists():
            yield len(shard), False
            continue
        rows: dict[str, list[Any]] = {}
        for batch in _batches(model, shard):
            questions = [model.questions.recommendation(user=user, k=k) for user in batch]
            rows |= dict(zip(batch, (reply.items for reply in model.answer(questions)), strict=True))
            yield len(batch), True
        with replaced(part) as temporary:
            pq.write_table(_table(shard, rows), temporary)
    write_text(out / SUCCESS, "")


def _begin(out: Path, wanted: dict[str, Any]) -> None:
    manifest = out / MANIFEST
    if manifest.is_file():
        found = read_json(manifest)
        other = [name for name, value in wanted.items() if not isinstance(found, dict) or found.get(name) != value]
        if other:
            raise ArtifactError(
                f"{out}: holds recommendations with another {', '.join(other)}. Name another one, or remove it."
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArtifactError(f"{out}: is there already, and holds no recommendations. Name a new folder.")
    write_json(manifest, wanted)


def _batches(model: ItemLanguageModel, users: Sequence[str]) -> list[list[str]]:
    """Users with histories of like length together: a pass is as long as its longest prompt."""
    by_length = sorted(users, key=lambda user: (len(model.history(user)), user))
    return [by_length[start : start + BATCH] for start in range(0, len(by_length), BATCH)]


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
