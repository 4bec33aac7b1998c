"""Step `ingest`: source -> interactions, items and quarantine, by named rules."""

from ilm.data.ingest import ingest
from ilm.data.schema import write_table
from ilm.data.source import load
from tasks.paths import INTERACTIONS, ITEMS, QUARANTINE
from tasks.step import Step, main


def run(step: Step) -> None:
    """Read the source of section `data`, and write the three tables."""
    params = step.params.data
    source = load(params)
    result = ingest(source, params.max_quarantine_fraction)
    write_table(result.interactions, INTERACTIONS)
    write_table(result.items, ITEMS)
    write_table(result.quarantine, QUARANTINE)

    for note in filter(None, [source.notice, *result.notes]):
        print(f"ingest  {note}", flush=True)
    by_rule = result.quarantine.group_by("table", "rule").len().sort("table", "rule")
    for table, rule, rows in by_rule.iter_rows():
        print(f"ingest  quarantine: {rows:,} rows of {table}, {rule}", flush=True)
    print(f"ingest  {len(result.interactions):,} interactions, {len(result.items):,} items", flush=True)
    step.log_metrics(
        {
            "interactions": len(result.interactions),
            "items": len(result.items),
            "users": result.interactions["user_id"].n_unique(),
            "quarantined": len(result.quarantine),
        }
    )


if __name__ == "__main__":
    main("ingest", run)
