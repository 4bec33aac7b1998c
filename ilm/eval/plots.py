"""The report's figures as SVG text: no fonts or scripts to load, equal numbers give equal bytes."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#b8c0cc", "#6f87a6", "#d1603d", "#5b8c5a", "#8a6bb1", "#c9a227")
_STYLE: Any = {
    "svg.hashsalt": "ilm",  # ids inside the SVG are otherwise random
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's own font
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a8f98",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": "#444a55",
    "ytick.color": "#444a55",
}
_NOT_PLOTTED = {"step", "gradient_norm"}


def metric_bars(metrics: Mapping[str, Any], names: Sequence[str], labels: Mapping[str, str], name: str) -> str:
    """One panel per task: the filtered metrics of every system, with 95 % intervals.

    Args:
        metrics: content of metrics.json.
        names: the metrics to show.
        labels: what to call a system, a task or a metric.
        name: unique within the page.
    """
    from matplotlib.figure import Figure

    systems = list(metrics["systems"])
    tasks = list(metrics["systems"][systems[0]])
    width = 0.8 / len(systems)
    with _style():
        figure = Figure(figsize=(4.7 * len(tasks), 3.4), layout="constrained")
        for task, axes in zip(tasks, np.atleast_1d(figure.subplots(1, len(tasks), sharey=True)), strict=True):
            for number, system in enumerate(systems):
                values = [metrics["systems"][system][task]["filtered"][metric] for metric in names]
                bounds = [metrics["significance"]["intervals"][system][task]["filtered"][metric] for metric in names]
                errors = [
                    [max(0.0, value - bound["low"]) for value, bound in zip(values, bounds, strict=True)],
                    [max(0.0, bound["high"] - value) for value, bound in zip(values, bounds, strict=True)],
                ]
                places = np.arange(len(names)) + (number - (len(systems) - 1) / 2) * width
                colour = _COLOURS[number % len(_COLOURS)]
                axes.bar(places, values, 0.92 * width, color=colour, label=labels.get(system, system))
                axes.errorbar(places, values, errors, fmt="none", ecolor="#333a45", elinewidth=1, capsize=3)
            axes.set_xticks(range(len(names)), [labels.get(metric, metric) for metric in names])
            axes.tick_params(axis="x", length=0)
            axes.set_title(labels.get(task, task))
            axes.grid(axis="y", color="#e4e7ec")
            axes.set_axisbelow(True)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=len(systems), frameon=False)
        return _svg(figure, name)


def seed_points(metrics: Mapping[str, Any], metric: str, labels: Mapping[str, str], name: str) -> str:
    """One panel per task: a metric (filtered) of every system in order, with its 95 % interval and each seed's value.

    Args:
        metrics: content of a benchmark's metrics.json.
        metric: the one to show.
        labels: what to call a system, a task or a metric.
        name: unique within the page.
    """
    from matplotlib.figure import Figure

    systems = metrics["order"]
    tasks = list(metrics["systems"][systems[0]])
    with _style():
        figure = Figure(figsize=(4.7 * len(tasks), 3.2), layout="constrained")
        for task, axes in zip(tasks, np.atleast_1d(figure.subplots(1, len(tasks))), strict=True):
            bounds = [metrics["significance"]["intervals"][system][task]["filtered"][metric] for system in systems]
            values = np.array([bound["mean"] for bound in bounds])
            errors = np.maximum(0.0, [values - [b["low"] for b in bounds], [b["high"] for b in bounds] - values])
            axes.errorbar(range(len(systems)), values, errors, fmt="o", color=_COLOURS[1], capsize=3, linewidth=1.4)
            for place, system in enumerate(systems):
                seeds = metrics["per_seed"][system][task]["filtered"][metric]
                axes.plot([place] * len(seeds), seeds, ".", color=_COLOURS[2], markersize=5, zorder=3)
            axes.set_xticks(range(len(systems)), [labels.get(system, system) for system in systems], rotation=20)
            axes.set_title(f"{labels.get(task, task)}, {labels.get(metric, metric)}")
            axes.grid(axis="y", color="#e4e7ec")
        return _svg(figure, name)


def curves(history: Sequence[Mapping[str, float]], name: str) -> str:
    """One panel per loss over the training steps; `held_out_<loss>` is drawn into the panel of `<loss>`.

    Args:
        history: records {"step": …, "<loss>": …}; a loss may be missing in some of them.
        name: unique within the page.
    """
    from matplotlib.figure import Figure

    names = sorted({key for record in history for key in record} - _NOT_PLOTTED)
    panels = [key for key in names if not key.startswith("held_out_")]
    if len(panels) > 1 and "loss" in panels:
        panels.remove("loss")  # the sum of the others
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    with _style():
        figure = Figure(figsize=(2.6 * columns, 2.1 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).flat
        for axes, key in zip(grid, panels, strict=False):
            for source, colour, label in ((key, _COLOURS[1], "train"), (f"held_out_{key}", _COLOURS[2], "held out")):
                points = np.array([(record["step"], record[source]) for record in history if source in record])
                if len(points) and source == key:
                    axes.plot(*points.T, color=colour, alpha=0.3, linewidth=0.8)
                    axes.plot(points[:, 0], _smooth(points[:, 1]), color=colour, linewidth=1.6, label=label)
                elif len(points):
                    axes.plot(*points.T, color=colour, linewidth=1.6, marker="o", markersize=3, label=label)
            axes.set_title(key.replace("_", " "))
            axes.grid(color="#eceef2")
            if any(f"held_out_{key}" in record for record in history):
                axes.legend(frameon=False, fontsize=8)
        for axes in list(figure.axes)[len(panels) :]:
            axes.remove()
        return _svg(figure, name)


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over a centred window of about a twentieth of the curve, cut off at its ends."""
    half, places = len(values) // 40, np.arange(len(values))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first, last = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    smoothed: NDArray[np.float64] = (sums[last] - sums[first]) / (last - first)
    return smoothed


@contextmanager
def _style() -> Iterator[None]:
    """Our look, whatever a user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def _svg(figure: "Figure", name: str) -> str:
    """The bare <svg> element; its ids start with `name`, so that figures do not meet inside one page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    return re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
