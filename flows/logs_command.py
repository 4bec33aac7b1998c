"""`ilm logs check FILE…`: what would happen to each row, before a file is dropped into the logs folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ilm.data.logs.check import FileCheck

EXAMPLES = 3
"""Bad rows that are shown per rule, if nothing else is asked for."""
SHOWN = 100
"""Characters that are shown of such a row."""


def check_logs(project: Path, files: Sequence[Path], examples: int | None = EXAMPLES) -> int:
    """Print a table per file.

    Args:
        project: the project's root.
        files: log files, or files of items.
        examples: how many bad rows to show per rule; None shows all, each whole.

    Returns:
        Exit code: 1 if one of the files would not be used, or would stop the run; else 0.

    Raises:
        IlmError: settings are wrong, the source cannot be read, or a file is not there.
    """
    import contextlib

    from ilm.data.logs.check import checking
    from ilm.data.rules import earliest_moment
    from ilm.params import load_params
    from tasks.now import current_time
    from tasks.paths import LOG_STORE

    files = [file.resolve() for file in files]
    with contextlib.chdir(project):  # settings name folders relative to the project's root
        params = load_params()
        earliest = earliest_moment(params.validate_.earliest)
        with checking(LOG_STORE, params.data, earliest, current_time()) as checker:
            checks = [checker.check(file) for file in files]
    for check in checks:
        print("\n".join(_lines(check, examples)))
    return int(any(check.refused for check in checks))


def _lines(check: "FileCheck", examples: int | None) -> list[str]:
    if check.refused and not check.rows:
        return [f"{check.name}: would not be used. {check.refused}"]
    counts = {
        "accepted": (check.accepted, ""),
        "duplicate": (check.duplicate, "told already, by this file or another"),
        "kept aside": (check.kept_aside, "until the catalogue knows their items"),
        "quarantined": (len(check.bad_rows), ""),
        "late": (check.late, "of those accepted or kept aside: dates before the last one of the log store"),
    }
    lines = [f"{check.name}: {check.rows:,} rows"]
    for name, (rows, meaning) in counts.items():
        lines.append(f"  {name:<12}{rows:>12,}  {meaning}".rstrip())
        if name == "quarantined":
            lines += _rules(check, examples)
    return [*lines, *([f"  The run would stop: {check.refused}"] if check.refused else [])]


def _rules(check: "FileCheck", examples: int | None) -> list[str]:
    """Per rule: how many rows break it, and the first of them."""
    lines = []
    for (rule, reason), rows in check.bad_rows.group_by("rule", "reason", maintain_order=True):
        lines.append(f"    {rule:<24}{len(rows):>8,}  {reason}")
        for row, record in rows.select("row", "record").head(len(rows) if examples is None else examples).iter_rows():
            lines.append(f"      row {row:,}: {record if examples is None else record[:SHOWN]}")
    return lines
