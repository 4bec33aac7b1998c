"""The page of a benchmark or an ablation: one HTML file, nothing loaded from elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any

from ilm.eval.metrics import METRICS
from ilm.report import plots
from ilm.report.page import LABELS, environment, figure

TEMPLATE = "benchmark.html.jinja"
SHOWN = "hr_at_10"
"""The metric of the figure and of the paired tests on the page."""
MOST_CHECKS = 12
"""Rows of a training's table of checks."""


def render_benchmark(
    name: str,
    metrics: Mapping[str, Any],
    command: str,
    environment_of_run: Mapping[str, Any],
    settings: str,
    checks: Mapping[str, Sequence[Mapping[str, float]]],
) -> str:
    """The whole page.

    Args:
        name: of the benchmark or ablation.
        metrics: content of its metrics.json.
        command: as it was typed.
        environment_of_run: content of environment.json.
        settings: all settings, as YAML text.
        checks: "<system>, seed <seed>" -> its checks against the valid part while it was trained, for systems that have
            some (`ilm.baselines.curve`).
    """
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            results=benchmark_section(name, metrics),
            metric_names=METRICS,
            shown=SHOWN,
            command=command,
            environment=environment_of_run,
            settings_text=settings.strip(),
            checks={label: thinned(found) for label, found in checks.items()},
        )
    )


def thinned(checks: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """At most MOST_CHECKS of them, evenly spread, with the last."""
    every = -(-len(checks) // MOST_CHECKS)
    return list(checks[::-1][:: max(1, every)])[::-1]


def benchmark_section(name: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates' macro `benchmark` shows: {"name", "metrics", "tasks", "figures": task -> figure}."""
    tasks = list(metrics["systems"][metrics["subject"]])
    return {
        "name": name,
        "metrics": metrics,
        "tasks": tasks,
        "figures": {
            task: figure(plots.interval_points(metrics, SHOWN, LABELS, f"points-{name}-{task}", [task]))
            for task in tasks
        },
    }
