"""What cannot be used of the log files: in the form of the one quarantine table, and when it is too much.

Too many bad rows are judged per file and for all together, never per run: the order of files must not matter.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from ilm.data.logs.facts import FileFacts
from ilm.data.logs.files import Rejected
from ilm.data.logs.store import Store
from ilm.data.raw import ROW
from ilm.data.rules import check_share
from ilm.data.schema import QUARANTINE
from ilm.errors import DataError

TABLE = "logs"
FEW_ROWS = 100
"""A file with fewer rows is judged as if it had so many: a bad row of three should not stop the night's run."""


def log_quarantine(store: Store, rejected: Mapping[str, Rejected]) -> pl.DataFrame:
    """QUARANTINE, by file and row.

    Args:
        store: its files' bad rows, and the files that could not be used as a whole.
        rejected: name -> further files of that kind.
    """
    whole = {facts.name: facts.rejected for facts in store.manifest.files.values() if facts.rejected}
    whole |= {name: (error.rule, str(error)) for name, error in rejected.items()}
    records = [(TABLE, name, None, rule, reason, None) for name, (rule, reason) in whole.items()]
    parts = [pl.DataFrame(records, schema=dict(QUARANTINE), orient="row")]
    for sha, facts in store.manifest.files.items():
        if facts.bad and facts.rejected is None:
            rows = store.bad_rows(sha).with_columns(table=pl.lit(TABLE), source=pl.lit(facts.name))
            parts.append(rows.select(list(QUARANTINE)))
    return pl.concat(parts).sort("source", "row", nulls_last=True, maintain_order=True)


def whole_files(quarantine: pl.DataFrame) -> list[str]:
    """Names of the log files that cannot be used as a whole, sorted."""
    return sorted(quarantine.filter(pl.col("row").is_null(), table=TABLE)["source"])


def check_shares(files: Mapping[str, FileFacts], stores: Sequence[Store], limit: float) -> None:
    """Stop when too many rows of a file, or of all files together, were set aside.

    Args:
        files: sha256 -> file.
        stores: where the bad rows of a file may lie.
        limit: `data.max_quarantine_fraction`.

    Raises:
        DataError: naming the file, and its rules with their counts.
    """
    for sha, facts in files.items():
        if facts.bad > limit * max(facts.rows, FEW_ROWS):
            store = next(store for store in stores if store.bad_rows_path(sha).is_file())
            check_share(facts.name, store.bad_rows(sha).rename({"row": ROW}), facts.rows, limit)
    rows, bad = (sum(getattr(facts, name) for facts in files.values()) for name in ("rows", "bad"))
    if bad > limit * max(rows, FEW_ROWS):
        worst = sorted(files.values(), key=lambda facts: (-facts.bad, facts.name))[:3]
        raise DataError(
            f"All log files together: {bad:,} of {rows:,} rows ({bad / rows:.1%}) cannot be used, more than "
            f"data.max_quarantine_fraction ({limit:.1%}) allows; most in "
            f"{', '.join(f'{facts.name} ({facts.bad:,})' for facts in worst)}. `ilm logs check FILE` says why. "
            "Mend the files, or raise data.max_quarantine_fraction in params.yaml."
        )
