"""Step `ingest`: source and log files -> interactions, items and quarantine, by named rules."""

from pathlib import Path

import polars as pl

from ilm.data import schema
from ilm.data.coded_log import distinct
from ilm.data.ingest import Ingested, ingest
from ilm.data.logs.files import Found, find
from ilm.data.logs.items import read_items
from ilm.data.logs.merged import write_merged
from ilm.data.logs.quarantine import log_quarantine
from ilm.data.logs.update import Update, update
from ilm.data.rules import earliest_moment
from ilm.data.source import load
from tasks.now import current_time
from tasks.paths import INTERACTIONS, ITEMS, KEPT_ASIDE, LOG_STORE, QUARANTINE, SOURCE_USERS
from tasks.step import Step, main

ROUNDS = 3
"""How often the logs folder is read, where files arrive meanwhile: DVC counts what is there at the end as read."""


def run(step: Step) -> None:
    """Read the source of section `data` and the log files, and write the tables."""
    for _ in range(ROUNDS):
        found = find(Path(step.params.data.logs), step.params.data.settle_seconds)
        _ingest(step, found)
        if found.is_settled():
            return
    print(
        "ingest  log files keep arriving: the last ones are read when the folder changes again, or by "
        "`dvc repro --force --single-item ingest`",
        flush=True,
    )


def _ingest(step: Step, found: Found) -> None:
    params = step.params.data
    source = load(params, logs=bool(found.logs))
    item_tables, rejected = read_items(found.items, params)
    result = ingest(source, params.max_quarantine_fraction, item_tables)
    earliest = earliest_moment(step.params.validate_.earliest)
    updated = update(found.logs, LOG_STORE, params, earliest, current_time())
    merged = write_merged(result.interactions, updated.store, result.items["item_id"], INTERACTIONS, KEPT_ASIDE)
    quarantine = pl.concat([result.quarantine, log_quarantine(updated.store, found.rejected | rejected)])
    schema.write_table(result.items, ITEMS)
    schema.write_table(quarantine, QUARANTINE)
    schema.write_table(result.interactions.select("user_id").unique().sort("user_id"), SOURCE_USERS)

    _say(source.notice, result, quarantine, found, updated)
    users = distinct(schema.scan_table(INTERACTIONS, schema.INTERACTIONS).select("user_id")).height
    if updated.store.manifest.partitions:
        print(
            f"ingest  kept aside until the catalogue knows their items: {merged.kept_aside:,} rows; told twice in "
            f"different words: {merged.duplicates:,}",
            flush=True,
        )
    print(f"ingest  {merged.accepted:,} interactions, {len(result.items):,} items", flush=True)
    step.log_metrics(
        {
            "interactions": merged.accepted,
            "items": len(result.items),
            "users": users,
            "quarantined": len(quarantine),
            "kept_aside": merged.kept_aside,
            "log_files": len(updated.store.manifest.files),
            "log_files_read": len(updated.read),
            "log_dates_rewritten": len(updated.rewritten),
            "late": updated.late,
        }
    )


def _say(notice: str, result: Ingested, quarantine: pl.DataFrame, found: Found, updated: Update) -> None:
    """What the user should know."""
    files = updated.store.manifest.files
    lines = [notice, *result.notes]
    lines += [f"log file {name} is left for the next run: {why}" for name, why in found.left.items()]
    lines += [f"log file {name} is left for the next run: it changed while it was read" for name in updated.left]
    lines += [f"log file {name} is gone, and its rows with it" for name in updated.gone]
    lines += [f"log store is made anew: {updated.rebuilt}"] if updated.rebuilt else []
    if updated.read or updated.rewritten:
        rows = sum(files[sha].rows for sha in updated.read)
        lines.append(
            f"log files: {len(updated.read):,} new with {rows:,} rows, {len(files):,} in all; dates rewritten: "
            f"{len(updated.rewritten):,}; late rows: {updated.late:,}"
        )
    by_rule = quarantine.group_by("table", "rule").len().sort("table", "rule")
    lines += [f"quarantine: {rows:,} rows of {table}, {rule}" for table, rule, rows in by_rule.iter_rows()]
    for line in filter(None, lines):
        print(f"ingest  {line}", flush=True)


if __name__ == "__main__":
    main("ingest", run)
