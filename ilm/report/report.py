"""The report that a person reads: one HTML page, nothing loaded from elsewhere, made from two JSON files alone.

Equal inputs give equal bytes: no date, no random ids. (The cost tables differ from run to run, because time does.)
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ilm.eval.metrics import METRICS
from ilm.eval.significance import PairedTest
from ilm.eval.summary import COLD_SHARE, HEAD_SHARE, SETTINGS
from ilm.prompts.templates import TASKS
from ilm.report import plots
from ilm.report.benchmark_page import benchmark_section
from ilm.report.item_space import GRID
from ilm.report.page import LABELS, LOSSES, environment, figure, label, p_value, signed

if TYPE_CHECKING:
    from markupsafe import Markup

TEMPLATE = "report.html.jinja"
SUBJECT = "ilm"
STAGES = {"stage1": "Stage 1: the encoder", "stage2": "Stage 2: adapter and retrieval head"}
SHOWN = ("hr_at_10", "ndcg_at_10")
"""Metrics of the figure, the paired tests and the slices."""


def render(
    metrics: Mapping[str, Any],
    showcase: Mapping[str, Any],
    benchmarks: Mapping[str, Mapping[str, Any]] | None = None,
    elm: Mapping[str, Any] | None = None,
) -> str:
    """The whole page.

    Args:
        metrics: content of metrics.json.
        showcase: content of showcase.json.
        benchmarks: name -> content of the metrics.json of `ilm bench` and `ilm ablate`; None: the page of one run.
        elm: content of the metrics.json of `ilm elm`, if it has run.
    """
    import yaml

    metrics = {**metrics, "subject": SUBJECT, "order": _order(metrics["systems"])}
    tasks, space = list(metrics["systems"][SUBJECT]), showcase["item_space"]
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            **metrics,
            metrics=metrics,
            showcase=showcase,
            metric_names=METRICS,
            shown=SHOWN,
            tasks=tasks,
            best=_best(metrics["systems"]),
            wishes=_wishes(showcase["users"]),
            comparisons=comparisons(metrics),
            head_share=HEAD_SHARE,
            cold_share=COLD_SHARE,
            figures=[
                figure(plots.interval_points(metrics, metric, LABELS, f"points-{task}-{metric}", [task]))
                for task in tasks
                for metric in SHOWN
            ],
            curves={
                title: _curves(showcase["training"][stage], stage)
                for stage, title in STAGES.items()
                if showcase["training"][stage]
            },
            pictures={
                name: figure(plots.item_points(space, found["points"], GRID)) for name, found in space["spaces"].items()
            },
            benchmarks=None
            if benchmarks is None
            else {name: benchmark_section(name, results) for name, results in benchmarks.items()},
            elm=elm,
            settings_text=yaml.safe_dump(showcase["settings"], sort_keys=False).strip(),
        )
    )


def comparisons(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry per paired test that the page shows: who against whom, both means, the test, and what it says."""
    entries = []
    for pair, tasks in metrics["significance"]["paired"].items():
        subject, baseline = pair.split("_minus_")
        for task, settings in tasks.items():
            for metric in SHOWN:
                entries.append(
                    {
                        "subject": subject,
                        "baseline": baseline,
                        "task": task,
                        "metric": metric,
                        "subject_mean": metrics["systems"][subject][task]["filtered"][metric],
                        "baseline_mean": metrics["systems"][baseline][task]["filtered"][metric],
                        "test": (test := PairedTest(**settings["filtered"][metric])),
                        "conclusion": _conclusion(label(subject), test),
                    }
                )
    return entries


def _curves(history: Sequence[Mapping[str, float]], stage: str) -> "tuple[list[Markup], list[Markup]]":
    """Figures of the losses that stand in front, and of the others: in stage 2, what is not ranking."""
    figures = {key: figure(svg) for key, svg in plots.curves(history, LOSSES, f"curves-{stage}").items()}
    front = [key for key in figures if key.startswith(TASKS)] or list(figures)
    return [figures[key] for key in front], [svg for key, svg in figures.items() if key not in front]


def _order(systems: Mapping[str, Any]) -> list[str]:
    """The page's own system, then the others, the best first."""
    task = next(iter(systems[SUBJECT]))
    others = [system for system in systems if system != SUBJECT]
    return [SUBJECT, *sorted(others, key=lambda system: -systems[system][task]["filtered"][SHOWN[0]])]


def _best(systems: Mapping[str, Any]) -> dict[tuple[str, str, str], float]:
    """(task, setting, metric) -> the highest mean of any system."""
    first = next(iter(systems.values()))
    return {
        (task, setting, metric): max(system[task][setting][metric] for system in systems.values())
        for task in first
        for setting in SETTINGS
        for metric in METRICS
    }


def _wishes(users: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Items recommended upon a wish, how many of them fulfil it, and how many would if drawn from the catalogue."""
    wishes = [wish for user in users for turn in user["conversation"] for wish in turn["wishes"]]
    return {
        "judged": sum(len(wish["fulfilled"]) for wish in wishes),
        "fulfilled": sum(sum(wish["fulfilled"]) for wish in wishes),
        "chance": sum(wish["share"] * len(wish["fulfilled"]) for wish in wishes),
    }


def _conclusion(subject: str, test: PairedTest) -> str:
    found = p_value(test.p_holm)
    low, high = signed(100 * test.low, 1), signed(100 * test.high, 1)
    said = "No proven difference" if test.verdict == "no proven difference" else f"{subject} is {test.verdict}"
    p_said = f"p {found}" if found.startswith("<") else f"p = {found}"
    return f"{said}: {low} to {high} percentage points with 95\N{NO-BREAK SPACE}% confidence ({p_said})."
