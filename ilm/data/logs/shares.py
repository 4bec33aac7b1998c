"""When too many rows of the log files are bad, the run stops. Judged per file: the order of files must not matter."""

from collections.abc import Mapping, Sequence

from ilm.data.logs.facts import FileFacts
from ilm.data.logs.store import Store
from ilm.data.raw import ROW
from ilm.data.rules import check_share
from ilm.errors import DataError

FEW_ROWS = 100
"""A file with fewer rows is judged as if it had so many: a bad row of three should not stop the night's run."""


def too_many(facts: FileFacts, limit: float) -> bool:
    """Whether a file's bad rows would stop the run."""
    return facts.bad > limit * max(facts.rows, FEW_ROWS)


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
        if too_many(facts, limit):
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
