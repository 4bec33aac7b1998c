"""Step `validate`: the data contract. Broken: the page is written, nothing else, and the pipeline stops."""

from datetime import UTC, datetime

from ilm.data import schema
from ilm.data.contract import require, summary, validate
from ilm.data.validation_page import render
from ilm.files import write_json, write_text
from tasks.paths import INTERACTIONS, ITEMS, VALIDATION, VALIDATION_PAGE
from tasks.step import Step, main


def run(step: Step) -> None:
    """Hold interactions and items against section `validate`; a result of an earlier run never survives a failure."""
    VALIDATION.unlink(missing_ok=True)
    interactions = schema.read_table(INTERACTIONS, schema.INTERACTIONS)
    items = schema.read_table(ITEMS, schema.ITEMS, with_text=True)
    outcomes = validate(interactions, items, step.params.validate_, datetime.now(UTC))
    write_text(VALIDATION_PAGE, render(outcomes))
    failed = sum(not outcome.passed for outcome in outcomes)
    step.log_metrics({"expectations": len(outcomes), "expectations_failed": failed})
    require(outcomes, str(VALIDATION_PAGE))
    write_json(VALIDATION, summary(outcomes))
    print(f"validate  all {len(outcomes)} expectations hold; page: {VALIDATION_PAGE}", flush=True)


if __name__ == "__main__":
    main("validate", run)
