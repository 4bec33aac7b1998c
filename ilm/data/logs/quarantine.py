"""All that could not be used of the log files, in the form of the one quarantine table."""

from collections.abc import Mapping

import polars as pl

from ilm.data.logs.files import Rejected
from ilm.data.logs.store import Store
from ilm.data.schema import QUARANTINE

TABLE = "logs"


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
