"""The page of a benchmark or an ablation: one HTML file, nothing loaded from elsewhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ilm.eval import plots
from ilm.eval.metrics import METRICS
from ilm.eval.report import LABELS

TEMPLATE = "benchmark.html.jinja"
SHOWN = "hr_at_10"
"""The metric of the figure and of the paired tests on the page."""


def render_benchmark(
    name: str, metrics: Mapping[str, Any], command: str, environment: Mapping[str, Any], settings: str
) -> str:
    """The whole page.

    Args:
        name: of the benchmark or ablation.
        metrics: content of its metrics.json.
        command: as it was typed.
        environment: content of environment.json.
        settings: all settings, as YAML text.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters["label"] = lambda name: LABELS.get(name, name)
    return page.get_template(TEMPLATE).render(
        **metrics,
        name=name,
        metric_names=METRICS,
        shown=SHOWN,
        tasks=list(metrics["systems"][metrics["subject"]]),
        figure=Markup(plots.seed_points(metrics, SHOWN, LABELS, "points")),
        command=command,
        environment=environment,
        settings_text=settings.strip(),
    )
