"""A teacher is asked shard by shard: what it has said is on disk, and a run that was cut short goes on behind it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ilm.elm.teachers import Teacher
from ilm.errors import ArtifactError
from ilm.files import read_json, write_json

SHARD = 16
"""Questions between two savings."""


def asked(folder: Path, teacher: Teacher, questions: Sequence[str]) -> list[str]:
    """The teacher's answers to all questions; what an earlier run was told is not asked again.

    Shards are the same stretches of the questions in every run, so a teacher that gives equal answers to equal
    questions gives equal answers however often it was interrupted.

    Args:
        folder: what the answers are for; they lie beside it until `forget`.
        teacher: who is asked.
        questions: in plain words.

    Raises:
        ArtifactError: there are answers to other questions, or of another teacher; or a saved answer is damaged.
    """
    shards = folder.with_name(f"{_prefix(folder)}{made_of(teacher.identity, questions)}")
    for other in kept_shards(folder):
        if other != shards:
            raise ArtifactError(
                f"{other}: answers of a run that was cut short, to other questions or of another teacher. Run it to "
                "its end with its settings, or delete this folder."
            )
    answers: list[str] = []
    for start in tqdm(range(0, len(questions), SHARD), "teacher", unit=f"{SHARD} texts", disable=None):
        path, wanted = shards / f"{start:06}.json", questions[start : start + SHARD]
        if not path.exists():
            write_json(path, teacher.answer(wanted))
        found = read_json(path)
        if not isinstance(found, list) or len(found) != len(wanted):
            raise ArtifactError(f"{path}: not the answers to {len(wanted)} questions. Delete this file and run again.")
        answers += found
    return answers


def kept_shards(folder: Path) -> list[Path]:
    """Folders with answers that wait for the rest."""
    return sorted(folder.parent.glob(f"{_prefix(folder)}*"))


def made_of(identity: Mapping[str, Any], questions: Sequence[str]) -> str:
    """16 hexadecimal digits that change with who is asked, and with any question."""
    whole = json.dumps([dict(identity), list(questions)], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _prefix(folder: Path) -> str:
    return f".{folder.name}-asked-"
