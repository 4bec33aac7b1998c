"""The reference texts on disk: kept with what they were made of, and refused where that has changed.

A folder with `references.parquet`, sorted by part, task and item, and `references.json`, the card.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ilm.elm.tasks import ALONE, Request, prompt_digest, wordings_version
from ilm.errors import ArtifactError, DataError
from ilm.files import digest, read_json, replaced, write_json
from ilm.prompts.attributes import Attributes
from ilm.prompts.material import Material

TABLE, CARD = "references.parquet", "references.json"
PARTS = ("training", "held_out")


@dataclass(frozen=True)
class References:
    """Requests, a text for each, and the card."""

    requests: list[Request]
    texts: list[str]
    card: Mapping[str, Any]

    def part(self, held_out: bool) -> "References":
        """Those to be judged by, or those to learn from."""
        rows = [row for row in zip(self.requests, self.texts, strict=True) if row[0].held_out == held_out]
        return References([request for request, _ in rows], [text for _, text in rows], self.card)


def write_references(
    folder: Path, requests: Sequence[Request], texts: Sequence[str], known: Attributes, origin: Mapping[str, Any]
) -> References:
    """Write the folder, whole or not at all.

    An item with an empty text in one task is left out of all tasks, so that all tasks speak of the same items; the card
    says how many were.

    Args:
        folder: to write.
        requests: sorted.
        texts: one for each.
        known: what the teacher was told of.
        origin: for the card: `teacher`, and what else the texts depend on.

    Raises:
        DataError: a part is left without items.
    """
    rows = list(zip(requests, texts, strict=True))
    empty = {(request.held_out, request.item) for request, text in rows if not text}
    rows = [(request, text) for request, text in rows if (request.held_out, request.item) not in empty]
    kept, said = [request for request, _ in rows], [text for _, text in rows]
    if {request.held_out for request in kept} != {False, True}:
        raise DataError(f"ELM-24: {len(empty)} items have an empty text, and no other is left. Take another teacher.")
    with replaced(folder) as temporary:
        temporary.mkdir()
        pq.write_table(_table(kept, said, known, str(origin["teacher"])), temporary / TABLE)
        card = dict(origin) | {
            "wordings": wordings_version(),
            "texts": len(kept),
            "items": _by_part((request.held_out, request.item) for request in kept),
            "left_out": _by_part(empty),
            "references_sha256": digest(temporary / TABLE),
        }
        write_json(temporary / CARD, card)
    return References(kept, said, card)


def load_references(folder: Path, training: Material, held_out: Material) -> References:
    """Read references, and see that they fit the catalogue and its parts as they are now.

    Raises:
        ArtifactError: a file is missing or damaged; a title, text or wording has changed since; or a text to learn from
            is about an item that is held out now, or the other way round.
    """
    card = read_json(folder / CARD)
    try:
        table = pq.read_table(folder / TABLE)
        columns = [table[name].to_pylist() for name in ("held_out", "task", "item_index", "other_index")]
        requests = [Request(*row) for row in zip(*columns, strict=True)]
        texts, digests = table["text"].to_pylist(), table["prompt_sha256"].to_pylist()
        if digest(folder / TABLE) != card["references_sha256"]:
            raise ValueError("it is not the table that the card was written for")
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{folder / TABLE}: damaged ({error}). Restore the folder, or make it anew.") from None
    known = training.attributes
    for request, was in zip(requests, digests, strict=True):
        gone = max(request.item, request.other) >= len(known.titles)
        if gone or prompt_digest(request.prompt(known)) != was:
            raise ArtifactError(
                f"{folder}: the text of {request.task}, item_index {request.item}, answers another question than is "
                "asked now: the catalogue or a wording has changed. Make the references anew."
            )
    _require_parts(folder, requests, training, held_out)
    return References(requests, texts, card)


def _require_parts(folder: Path, requests: Sequence[Request], training: Material, held_out: Material) -> None:
    for part, material in enumerate((training, held_out)):
        mine = [request for request in requests if request.held_out == bool(part)]
        others = {request.other for request in mine} - {ALONE}
        wrong = {request.item for request in mine} - set(material.items.tolist())
        wrong |= others - set(np.flatnonzero(material.named).tolist())
        if wrong:
            raise ArtifactError(
                f"{folder}: texts of the part {PARTS[part]} are about {len(wrong)} items that do not belong there "
                f"(first: item_index {min(wrong)}). Make the references anew, or set finetune.held_out_fraction and "
                "finetune.seed as they were."
            )


def _table(requests: Sequence[Request], texts: Sequence[str], known: Attributes, teacher: str) -> pa.Table:
    return pa.table(
        {
            "held_out": [request.held_out for request in requests],
            "task": [request.task for request in requests],
            "item_index": pa.array([request.item for request in requests], pa.int32()),
            "other_index": pa.array([request.other for request in requests], pa.int32()),
            "prompt_sha256": [prompt_digest(request.prompt(known)) for request in requests],
            "text": list(texts),
            "teacher": [teacher] * len(requests),
        }
    )


def _by_part(items: Iterable[tuple[bool, int]]) -> dict[str, int]:
    """How many items of each part, each counted once."""
    distinct = set(items)
    return {name: sum(held_out == bool(part) for held_out, _ in distinct) for part, name in enumerate(PARTS)}
