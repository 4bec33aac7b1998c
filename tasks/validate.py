"""Step `validate`: the data contract. Broken: the page is written, nothing else, and the pipeline stops."""

import polars as pl
from tqdm import tqdm

from ilm.data import schema
from ilm.data.batches import Batches
from ilm.data.contract import require, summary, validate
from ilm.data.logs.batch import accept, batch_to_judge, read_accepted
from ilm.data.logs.quarantine import whole_files
from ilm.data.logs.store import Store, read_manifest
from ilm.data.validation_page import render
from ilm.files import write_json, write_text
from tasks.now import current_time
from tasks.paths import ACCEPTED, INTERACTIONS, ITEMS, LOG_STORE, QUARANTINE, SOURCE_USERS, VALIDATION, VALIDATION_PAGE
from tasks.step import Step, main


def run(step: Step) -> None:
    """Hold interactions, items and new log files against section `validate`; a result of an earlier run never survives
    a failure, and what was accepted before does not change by one."""
    VALIDATION.unlink(missing_ok=True)
    params = step.params.validate_
    rows = schema.scan_table(INTERACTIONS, schema.INTERACTIONS).select(pl.len()).collect().item()
    interactions = Batches(INTERACTIONS, list(schema.INTERACTIONS))
    items = schema.read_table(ITEMS, schema.ITEMS, with_text=True)
    set_aside = whole_files(schema.read_table(QUARANTINE, schema.QUARANTINE))
    source_users = schema.read_table(SOURCE_USERS, schema.SOURCE_USERS)["user_id"]
    store, accepted = Store(LOG_STORE, read_manifest(LOG_STORE)), read_accepted(ACCEPTED)
    batches = batch_to_judge(store, accepted, items["item_id"], source_users, params.min_batch_rows)
    portions = tqdm(interactions, desc="validate", unit="portion", total=-(-rows // interactions.rows), disable=None)
    outcomes = validate(portions, items, params, current_time(), accepted.table_rows, batches, set_aside)
    write_text(VALIDATION_PAGE, render(outcomes))
    stopping = sum(outcome.stops for outcome in outcomes)
    warnings = [outcome for outcome in outcomes if not outcome.passed and not outcome.stops]
    counts = {"expectations": len(outcomes), "expectations_failed": stopping, "expectations_warned": len(warnings)}
    step.log_metrics({name: float(count) for name, count in counts.items()})
    for outcome in warnings:
        print(f"validate  warning: {outcome.table}: expected {outcome.expected}; found {outcome.observed}", flush=True)
    require(outcomes, str(VALIDATION_PAGE))
    write_json(ACCEPTED, accept(accepted, batches[0], rows).model_dump(mode="json"))
    write_json(VALIDATION, summary(outcomes))
    holding = "all" if not warnings else f"{len(outcomes) - len(warnings)} of"
    print(f"validate  {holding} {len(outcomes)} expectations hold; page: {VALIDATION_PAGE}", flush=True)


if __name__ == "__main__":
    main("validate", run)
