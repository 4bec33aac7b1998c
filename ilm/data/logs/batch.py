"""A batch: log files that are new since the gate last let some through. What it holds, and what to compare it with."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from ilm.data.logs.facts import MAY_LACK, FileFacts
from ilm.data.logs.store import Store
from ilm.errors import ArtifactError


class Batch(BaseModel):
    """Some log files together; counts are of good rows unless they say otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: list[str]
    """sha256, sorted."""
    rows: int
    bad: int
    """Rows in quarantine."""
    first: datetime | None
    last: datetime | None
    hours: dict[int, int]
    types: dict[str, int]
    missing: dict[str, int]
    users: int
    known_users: int
    """Of the users: those of the source or of earlier batches."""
    items: int
    known_items: int
    """Of the items: those in the catalogue."""


class Accepted(BaseModel):
    """What the gate let through so far."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table_rows: int | None = None
    """Rows of the last table that passed."""
    batches: list[Batch] = []
    """Oldest first."""


def batch_to_judge(
    store: Store, accepted: Accepted, catalogue: pl.Series, source_users: pl.Series, min_rows: int
) -> tuple[Batch | None, Batch | None]:
    """The batch of the files that are new since the last acceptance, and the accepted batch to compare it with.

    Where nothing is new it is the last accepted batch again, so that judging twice gives the same result.

    Args:
        store: the log store.
        accepted: what the gate let through before.
        catalogue: ids of all known items.
        source_users: ids of the users of the source.
        min_rows: smaller batches say too little to be compared with.
    """
    files = store.manifest.files
    seen = {sha for batch in accepted.batches for sha in batch.files}
    new = sorted(files.keys() - seen)
    before = accepted.batches
    if new:
        earlier = [sha for sha in files if sha in seen]
        known_users = pl.concat([source_users.rename("id"), _ids(store, earlier, "user")])
        batch = _describe(files, new, _ids(store, new, "user"), known_users, _ids(store, new, "item"), catalogue)
    elif before:
        *before, batch = before
    else:
        return None, None
    return batch, next((other for other in reversed(before) if other.rows >= min_rows), None)


def read_accepted(path: Path) -> Accepted:
    """What the gate let through before; nothing, if the file is not there yet.

    Raises:
        ArtifactError: the file is damaged.
    """
    if not path.exists():
        return Accepted()
    try:
        return Accepted.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ArtifactError(
            f"{path}: damaged ({error.errors()[0]['msg']}). Bring it back with `dvc checkout`, or delete it: the next "
            "batch is then compared with nothing."
        ) from None


def accept(accepted: Accepted, batch: Batch | None, table_rows: int) -> Accepted:
    """After a table and a batch have passed."""
    new = [batch] if batch is not None and batch not in accepted.batches[-1:] else []
    return Accepted(table_rows=table_rows, batches=[*accepted.batches, *new])


def distance(left: Mapping[Any, int], right: Mapping[Any, int]) -> float:
    """Total variation distance of two histograms, each taken as shares: half the sum of absolute differences.

    0: the same shares, 1: nothing in common. Of an empty histogram it is 1, of two 0.
    """
    totals = sum(left.values()), sum(right.values())
    if not all(totals):
        return 0.0 if totals == (0, 0) else 1.0
    keys = {*left, *right}
    return sum(abs(left.get(key, 0) / totals[0] - right.get(key, 0) / totals[1]) for key in keys) / 2


def missing_change(left: Batch, right: Batch) -> float:
    """The largest difference in the share of rows that lack one of the columns MAY_LACK."""
    shares = [{name: batch.missing[name] / max(batch.rows, 1) for name in MAY_LACK} for batch in (left, right)]
    return max(abs(shares[0][name] - shares[1][name]) for name in MAY_LACK)


def _describe(
    files: Mapping[str, FileFacts],
    chosen: Sequence[str],
    users: pl.Series,
    known_users: pl.Series,
    items: pl.Series,
    catalogue: pl.Series,
) -> Batch:
    facts = [files[sha] for sha in chosen]
    moments = [moment for each in facts for moment in (each.first, each.last) if moment]
    return Batch(
        files=list(chosen),
        rows=sum(each.good for each in facts),
        bad=sum(each.bad for each in facts),
        first=min(moments, default=None),
        last=max(moments, default=None),
        hours=_sum(each.hours for each in facts),
        types=_sum(each.types for each in facts),
        missing={name: sum(each.missing.get(name, 0) for each in facts) for name in MAY_LACK},
        users=len(users),
        known_users=int(users.is_in(known_users.unique().implode()).sum()),
        items=len(items),
        known_items=int(items.is_in(catalogue.unique().implode()).sum()),
    )


def _ids(store: Store, files: Iterable[str], kind: str) -> pl.Series:
    """The distinct users or items of some files."""
    read = [sha for sha in files if store.manifest.files[sha].rejected is None]
    parts = [store.ids(sha).filter(kind=kind)["id"] for sha in read]
    return pl.concat([pl.Series("id", [], pl.String), *parts]).unique().sort()


def _sum(counts: Iterable[Mapping[Any, int]]) -> dict[Any, int]:
    total: Counter[Any] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))
