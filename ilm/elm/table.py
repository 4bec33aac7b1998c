"""The comparison as a table: systems x metrics, averaged over the tasks."""

from collections.abc import Mapping
from typing import Any

from ilm.elm.comparison import AVERAGE, METRICS

LABELS = {"semantic_consistency": "semantic consistency", "log_perplexity": "nats per token of the reference"}


def markdown(metrics: Mapping[str, Any]) -> str:
    """Mean over tasks and items with its 95 % interval, and the paired test against the first system (Holm).

    Args:
        metrics: what `ilm.elm.comparison.comparison` gives.
    """
    systems = list(metrics[METRICS[0]]["intervals"])
    lines = [
        f"| system | {' | '.join(f'{LABELS[metric]} | {systems[0]} - it | p (Holm)' for metric in METRICS)} |",
        "|---" * (1 + 3 * len(METRICS)) + "|",
    ]
    for system in systems:
        cells = (cell for metric in METRICS for cell in _cells(metrics[metric], system, systems[0]))
        lines.append(f"| {system} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cells(found: Mapping[str, Any], system: str, subject: str) -> list[str]:
    if system not in found["intervals"]:  # a floor reads nothing
        return ["", "", ""]
    estimate = found["intervals"][system][AVERAGE]
    shown = f"{estimate['mean']:.4f} ({estimate['low']:.4f} to {estimate['high']:.4f})"
    test = found["paired"].get(f"{subject}_minus_{system}")
    if test is None:
        return [shown, "", ""]
    p_holm = test[AVERAGE]["p_holm"]
    return [shown, f"{test[AVERAGE]['difference']:+.4f}", "< 0.001" if p_holm < 0.001 else f"{p_holm:.3f}"]
