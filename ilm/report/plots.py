"""The figures of the pages as SVG text: no fonts or scripts to load, equal numbers give equal bytes.

Every panel is a figure of its own, so that a page can set them side by side or, on a phone, one below the other.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, GRID_LINE, PLAIN, ACCENT = "#23272f", "#646b78", "#e3e6eb", "#5f7fa3", "#c4532d"
"""Words, axes, grid, ordinary points, what the page is about. A page may give them other values in the dark."""
_STYLE: Any = {
    "svg.hashsalt": "ilm",  # ids inside the SVG are otherwise random
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's own font
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.axisbelow": True,
    "grid.color": GRID_LINE,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
}


def interval_points(
    metrics: Mapping[str, Any],
    metric: str,
    labels: Mapping[str, str],
    name: str,
    tasks: Sequence[str] | None = None,
) -> str:
    """One panel per task: a metric (filtered) of every system, with its 95 % interval and the values of its seeds.

    Args:
        metrics: content of a benchmark's metrics.json; of a run's, with "order" and "subject".
        metric: the one to show.
        labels: what to call a system, a task or a metric.
        name: unique within the page.
        tasks: the ones to show; None: all.
    """
    from matplotlib.figure import Figure

    systems = metrics["order"]
    shown = tasks or list(metrics["systems"][systems[0]])
    with _style():
        figure = Figure(figsize=(4.6 * len(shown), 0.75 + 0.32 * len(systems)), layout="constrained")
        for task, axes in zip(shown, np.atleast_1d(figure.subplots(1, len(shown))), strict=True):
            for row, system in enumerate(systems):
                if task not in metrics["systems"][system]:
                    continue
                bound = metrics["significance"]["intervals"][system][task]["filtered"][metric]
                colour = ACCENT if system == metrics["subject"] else PLAIN
                axes.plot([bound["low"], bound["high"]], [row, row], color=colour, linewidth=2, solid_capstyle="round")
                seeds = metrics.get("per_seed", {}).get(system, {}).get(task, {}).get("filtered", {}).get(metric, [])
                if len(seeds) > 1:
                    axes.plot(seeds, [row] * len(seeds), "|", color=colour, markersize=10, markeredgewidth=1)
                axes.plot(bound["mean"], row, "o", color=colour, markersize=6.5)
            axes.set_yticks(range(len(systems)), [labels.get(system, system) for system in systems])
            axes.set_ylim(len(systems) - 0.5, -0.5)
            axes.set_title(f"{labels.get(metric, metric)}, {labels.get(task, task).lower()}")
            _bare(axes, "x")
        return _svg(figure, name)


def curves(history: Sequence[Mapping[str, float]], labels: Mapping[str, str], name: str) -> dict[str, str]:
    """One figure per loss over the training steps: in training, held out, and what the language model explains alone.

    Args:
        labels: what to call a loss.
        history: records {"step": …, "<loss>": …}; a loss may be missing in some of them. `held_out_<loss>` and
            `<loss>_alone` are drawn into the figure of `<loss>`; recalls are no losses.
        name: unique within the page; figures add a number.
    """
    from matplotlib.figure import Figure

    names = {key for record in history for key in record if "recall" not in key} - {"step", "gradient_norm"}
    panels = sorted(key for key in names if not key.startswith("held_out_") and not key.endswith("_alone"))
    if len(panels) > 1 and "loss" in panels:
        panels.remove("loss")  # the sum of the others
    figures = {}
    for number, key in enumerate(panels):
        with _style():
            figure = Figure(figsize=(3.1, 1.9), layout="constrained")
            axes = figure.subplots()
            for source, colour in ((f"{key}_alone", QUIET), (key, PLAIN)):
                if source in names:
                    points = _points(history, source)
                    axes.plot(*points.T, color=colour, alpha=0.25, linewidth=0.7)
                    axes.plot(points[:, 0], _smooth(points[:, 1]), color=colour, linewidth=1.6)
            if f"held_out_{key}" in names:
                axes.plot(*_points(history, f"held_out_{key}").T, color=ACCENT, linewidth=1.6, marker="o", markersize=4)
            axes.set_title(labels.get(key, key.replace("_", " ")))
            _bare(axes, "y")
            figures[key] = _svg(figure, f"{name}-{number}")
    return figures


def item_points(space: Mapping[str, Any], points: Sequence[Sequence[int]], size: int) -> str:
    """The items of one space as dots, coloured by class `group0`, `group1`, …, and `other` below them.

    Args:
        space: of `ilm.report.item_space`.
        points: [x, y] per drawn item, from 0 to `size`.
        size: of the grid.
    """
    groups = ["other", *(f"group{number}" for number in range(len(space["groups"])))]
    paths = []
    for place, group in enumerate(groups, start=-1):
        mine = [point for point, of in zip(points, space["group_of"], strict=True) if of == place]
        dots = "".join(f"M{x} {size - y}h0" for x, y in mine)
        if dots:
            paths.append(f'<path class="{group}" d="{dots}"/>')
    margin = size // 40
    box = f"{-margin} {-margin} {size + 2 * margin} {size + 2 * margin}"
    return f'<svg class="items" viewBox="{box}" role="img">{"".join(paths)}</svg>'


def _bare(axes: "Axes", grid: Any) -> None:
    """Grid lines along one axis, no ticks, and only the axis line that the values stand on."""
    axes.grid(axis=grid)
    axes.tick_params(length=0)
    axes.spines["left" if grid == "x" else "bottom"].set_visible(False)
    axes.spines["bottom" if grid == "x" else "left"].set_visible(False)


def _points(history: Sequence[Mapping[str, float]], key: str) -> NDArray[np.float64]:
    return np.array([(record["step"], record[key]) for record in history if key in record], np.float64)


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
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=metadata, transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    return re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
