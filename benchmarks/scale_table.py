"""What logs and catalogues would take that no machine here holds, worked out from what was measured.

`python -m benchmarks.scale_table docs/scale.json` prints the tables of docs/scale.md: what `benchmarks.scale` measured,
its slopes, and from these the memory and hours of longer logs and larger catalogues.
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.scale import SPARK, STEPS, TABLES
from benchmarks.scale_engines import (
    CONTEXT_FLOPS,
    CORES,
    GPU_FLOPS,
    factorisation,
    item_context,
    machine,
    recommendations,
)
from benchmarks.synthetic_log import ROWS_PER_USER
from ilm.model.head import HEAD_WIDTH
from ilm.params import Params
from ilm.train.memory import ADAM

LOGS = {"1 million": 1e6, "100 million": 1e8, "1 billion": 1e9, "10 billion": 1e10}
CATALOGUES = {"10,000": 1e4, "1 million": 1e6, "100 million": 1e8}
PRICES = {"gb_hour": 0.005, "core_hour": 0.03, "gpu_hour": 3.0}
"""US dollars, of the order of what clouds ask in 2026; yours may differ."""
PORTIONS = 128
"""Into how many a step deals the log out at least, when it is longer than so many million rows (`ilm.data.buckets`)."""
PORTION_GB = {"split": 0.17, "pairs": 0.16}
"""Of each million rows of a portion after the first; measured at 25 million with 3 portions of 8.3 million."""


def measured(found: dict[str, Any]) -> str:
    """Seconds and peak memory of each step, by length of the log."""
    slopes = found["slopes"]
    steps = [step for step in (*STEPS, SPARK) if step in slopes]
    lines = ["| interactions | " + " | ".join(steps) + " |", "|---" * (len(steps) + 1) + "|"]
    for entry in sorted(found["measured"], key=lambda entry: entry["rows"]):
        cells = [_cell(entry["steps"].get(step, {})) for step in steps]
        lines.append(f"| {entry['rows'] / 1e6:.0f} million | " + " | ".join(cells) + " |")
    each = [f"{slopes[s]['seconds_per_million']:.2g} s, {slopes[s]['gb_per_million'] * 1e3:.0f} MB" for s in steps]
    return "\n".join([*lines, "| **each million more** | " + " | ".join(each) + " |"])


def logs(found: dict[str, Any]) -> str:
    """Hours and memory of each step, by length of the log, and dollars of all of them; as measured, where it was."""
    lines = ["| interactions | " + " | ".join(TABLES) + " | dollars |", "|---" * (len(TABLES) + 2) + "|"]
    known = {entry["rows"]: entry["steps"] for entry in found["measured"] if "seconds" in entry["steps"][TABLES[0]]}
    for name, rows in LOGS.items():
        costs = [_cost(step, found["slopes"][step], rows / 1e6) for step in TABLES]
        if rows in known:
            name += ", measured"
            costs = [(known[rows][step]["seconds"], known[rows][step]["mb"] / 1e3) for step in TABLES]
        cells = [f"{_hours(seconds)}, {_size(gigabytes)}" for seconds, gigabytes in costs]
        dollars = sum(_dollars(seconds, CORES, gigabytes) for seconds, gigabytes in costs)
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {_money(dollars)} |")
    return "\n".join(lines)


def engines(found: dict[str, Any]) -> str:
    """For each log with each catalogue: engine, size and hours of what takes long; the memory of the largest step;
    dollars."""
    head = [
        "interactions",
        "items",
        "`cf`",
        "item context of `finetune`",
        "`recommend --all-users`",
        "memory",
        "dollars",
    ]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for log, rows in LOGS.items():
        for catalogue, items in CATALOGUES.items():
            step, gigabytes, size = machine(found["measured"], rows, items)
            costs = [factorisation(found["measured"], rows), item_context(rows, items)]
            costs.append(recommendations(rows, items))
            cells = [f"`{engine}`, {_units(engine, count)}, {_hours(seconds)}" for engine, count, seconds in costs]
            cells.append(f"{_size(gigabytes)} (`{step}`)" + ("" if size else ": not supported"))
            cells.append(_money(sum(_price(*cost, size) for cost in costs)) if size else "")
            lines.append(f"| {log} | {catalogue} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def catalogues() -> str:
    """Of stage 2 and of serving, by size of the catalogue, for the users of a log of 100 million interactions."""
    settings = Params()
    finetune, shown = settings.finetune, settings.pairs.max_history
    places = finetune.context_batch_size * shown
    users = LOGS["100 million"] / ROWS_PER_USER
    lines = [
        "| items | vectors of `cf` | what stage 2 learns of them | scores of a step, in 1 piece / in 64 | "
        "passes of the item context on one GPU | table in serving | products of a request |",
        "|---" * 7 + "|",
    ]
    for name, items in CATALOGUES.items():
        scores = 12 * places * items / 1e9
        context = finetune.context_epochs * users * shown * items * CONTEXT_FLOPS
        lines.append(
            f"| {name} | {_size(4e-9 * settings.cf.factors * items)} | {_size(1e-9 * ADAM * HEAD_WIDTH * items)} | "
            f"{_size(scores)} / {_size(scores / 64)} | {_hours(context / GPU_FLOPS)}, "
            f"{context / GPU_FLOPS / 3600 * PRICES['gpu_hour']:.2g} dollars | {_size(4e-9 * HEAD_WIDTH * items)} | "
            f"{2e-9 * HEAD_WIDTH * items:.2g} GFLOP |"
        )
    return "\n".join(lines)


def _cell(cost: dict[str, float]) -> str:
    """Of what was measured: the time is left out where something else ran beside it."""
    seconds = [f"{cost['seconds']:.0f} s"] if "seconds" in cost else []
    return ", ".join([*seconds, f"{cost['mb'] / 1e3:.1f} GB"]) if cost else ""


def _units(engine: str, count: int) -> str:
    kind = "GPU" if engine == "torchrun" else "core"
    return f"{count:,} {kind}" + ("s" if count > 1 else "")


def _price(engine: str, count: int, seconds: float, gigabytes: float) -> float:
    if engine == "torchrun":
        return seconds / 3600 * count * PRICES["gpu_hour"]
    return _dollars(seconds, count, gigabytes)


def _dollars(seconds: float, cores: int, gigabytes: float) -> float:
    return seconds / 3600 * (PRICES["gb_hour"] * gigabytes + PRICES["core_hour"] * cores)


def _money(dollars: float) -> str:
    return f"{dollars:.2g}" if dollars < 100 else f"{dollars:.0f}"


def _cost(step: str, slope: dict[str, float], millions: float) -> tuple[float, float]:
    portions = PORTION_GB.get(step, 0) * max(0, millions / PORTIONS - 1)
    return slope["seconds_per_million"] * millions, slope["gb_of_none"] + slope["gb_per_million"] * millions + portions


def _hours(seconds: float) -> str:
    for limit, unit, size in ((90, "s", 1), (5400, "min", 60), (48 * 3600, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.2g} {unit}" if seconds / size < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:,.0f} days"


def _size(gigabytes: float) -> str:
    if gigabytes >= 1000:
        return f"{gigabytes / 1000:.2g} TB"
    if gigabytes < 0.095:
        return f"{1000 * gigabytes:.0f} MB"
    return f"{gigabytes:.2g} GB" if gigabytes < 10 else f"{gigabytes:.0f} GB"


if __name__ == "__main__":
    found = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print("\n\n".join([measured(found), logs(found), engines(found), catalogues()]))
