"""The report that a person reads: one HTML page, nothing loaded from elsewhere, made from metrics.json alone.

Equal inputs give equal bytes: no date, no random ids. (The cost table differs from run to run, because time does.)
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ilm.eval import plots
from ilm.eval.metrics import METRICS
from ilm.eval.significance import PairedTest
from ilm.eval.summary import HEAD_SHARE, SETTINGS

TEMPLATE = "report.html.jinja"
LABELS = {
    "popularity": "Popularity",
    "als": "ALS",
    "ilm": "ILM",
    "sequential": "Sequential",
    "straightforward": "Straightforward",
    "hr_at_5": "HR@5",
    "hr_at_10": "HR@10",
    "ndcg_at_5": "NDCG@5",
    "ndcg_at_10": "NDCG@10",
    "mrr": "MRR",
    "head": "popular item (head)",
    "tail": "other item (tail)",
    "short": "short",
    "long": "long",
    "leave_one_out": "leave one out (last interaction of each user)",
    "global_time": "global time (everything after one moment)",
}
_SHOWN = ("hr_at_10", "ndcg_at_10")
"""Metrics of the figure, the paired tests and the slices."""


def render(metrics: Mapping[str, Any], histories: Mapping[str, Sequence[Mapping[str, float]]], settings: str) -> str:
    """The whole page.

    Args:
        metrics: content of metrics.json.
        histories: training stage -> its records {"step": …, "<loss>": …}; may be empty.
        settings: all settings of the run, as YAML text.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(label=lambda name: LABELS.get(name, name), signed=_signed)
    return environment.get_template(TEMPLATE).render(
        **metrics,
        metric_names=METRICS,
        shown=_SHOWN,
        setting_names=SETTINGS,
        tasks=list(next(iter(metrics["systems"].values()))),
        best=_best(metrics["systems"]),
        comparisons=comparisons(metrics),
        head_share=HEAD_SHARE,
        bars=Markup(plots.metric_bars(metrics, _SHOWN, LABELS, "bars")),
        curves={
            stage: Markup(plots.curves(records, f"curves{number}"))
            for number, (stage, records) in enumerate(histories.items())
            if records
        },
        settings_text=settings.strip(),
    )


def comparisons(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry per paired test that the page shows: who against whom, both means, and the test."""
    entries = []
    for pair, tasks in metrics["significance"]["paired"].items():
        subject, baseline = pair.split("_minus_")
        for task, settings in tasks.items():
            for metric in _SHOWN:
                entries.append(
                    {
                        "subject": subject,
                        "baseline": baseline,
                        "task": task,
                        "metric": metric,
                        "subject_mean": metrics["systems"][subject][task]["filtered"][metric],
                        "baseline_mean": metrics["systems"][baseline][task]["filtered"][metric],
                        "test": (test := PairedTest(**settings["filtered"][metric])),
                        "conclusion": _conclusion(LABELS.get(subject, subject), test),
                    }
                )
    return entries


def _best(systems: Mapping[str, Any]) -> dict[tuple[str, str, str], float]:
    """(task, setting, metric) -> the highest mean of any system."""
    first = next(iter(systems.values()))
    return {
        (task, setting, metric): max(system[task][setting][metric] for system in systems.values())
        for task in first
        for setting in SETTINGS
        for metric in METRICS
    }


def _conclusion(subject: str, test: PairedTest) -> str:
    p_value = "p < 0.001" if test.p_holm < 0.001 else f"p = {test.p_holm:.3f}"
    low, high = _signed(100 * test.low, 1), _signed(100 * test.high, 1)
    said = "No proven difference" if test.verdict == "no proven difference" else f"{subject} is {test.verdict}"
    return f"{said}: {low} to {high} percentage points with 95\N{NO-BREAK SPACE}% confidence ({p_value})."


def _signed(value: float, digits: int = 4) -> str:
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
