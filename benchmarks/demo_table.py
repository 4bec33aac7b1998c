"""What the demonstration of retraining shows: a line per month's drop, from the records that its retrain left."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ilm.files import read_json, write_json, write_text

COLUMNS = (
    "month", "rows new", "set aside", "items new", "drift", "cosine", "overlap", "decision", "users",
    "champion", "challenger", "p", "version", "champion now", "minutes",
)  # fmt: skip
"""Of the table; `champion` and `challenger` are the metric that decides, on the same cases."""


def line(month: str, items: int, run: Mapping[str, Any], decision: Mapping[str, Any] | None) -> dict[str, Any]:
    """The values of COLUMNS, None where the retrain did not come so far.

    Args:
        month: of the drop.
        items: that it names for the first time.
        run: its run.json.
        decision: the gate's decision.json, if it was asked.
    """
    drift, test = run.get("drift") or {}, (decision or {}).get("test")
    metric = decision["metrics"][test["metric"]] if decision and test else {}
    values = (
        month, run["new_interactions"], run["new_quarantined"], items, drift.get("decision"), drift.get("cosine"),
        drift.get("neighbour_overlap"), run["outcome"], test and test["users"], metric.get("champion"),
        metric.get("challenger"), test and test["p_value"], run["version"], run["champion"], run["seconds"] / 60,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def markdown(lines: Sequence[Mapping[str, Any]]) -> str:
    """The lines as a table."""
    rows = [" | ".join(_shown(name, value) for name, value in row.items()) for row in lines]
    return "\n".join(f"| {row} |" for row in (" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS), *rows)) + "\n"


def write_table(folder: Path, lines: Sequence[Mapping[str, Any]]) -> str:
    """Write table.md and generations.json into the folder, and give the table."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "generations.json", list(lines))
    write_text(folder / "table.md", table := markdown(lines))
    return table


def read_decision(gate: Path) -> dict[str, Any] | None:
    """decision.json of a retrain's folder `gate`; None if the gate was not asked."""
    path = gate / "decision.json"
    return dict(read_json(path)) if path.is_file() else None


def _shown(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:.1f}" if name == "minutes" else f"{value:.4f}"
