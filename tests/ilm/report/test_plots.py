"""Figures: what is drawn where, read from the SVG."""

import re

import numpy as np
import pytest

from ilm.report import plots
from tests.tiny_report import make_benchmark, make_showcase


def words(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def circles(svg: str, colour: str) -> int:
    """Markers of this colour, of the form that a mean has."""
    return len(re.findall(rf'<use [^>]*fill: {colour}; stroke: {colour}"', svg))


def test_every_system_has_a_row_with_a_mean_in_the_order_given() -> None:
    svg = plots.interval_points(make_benchmark(), "hr_at_10", {"als": "ALS"}, "x", ["sequential"])
    names = [word for word in words(svg) if not re.fullmatch(r"[\d.]+", word)]
    assert names == ["ilm", "ALS", "hr_at_10, sequential"]
    assert (circles(svg, plots.ACCENT), circles(svg, plots.PLAIN)) == (1 + 2, 1), "two seeds of the subject"


def test_system_that_does_not_do_a_task_has_an_empty_row() -> None:
    metrics = make_benchmark()
    del metrics["systems"]["als"]["straightforward"]
    svg = plots.interval_points(metrics, "hr_at_10", {}, "x", ["straightforward"])
    assert "als" in words(svg)
    assert circles(svg, plots.PLAIN) == 0


def test_all_tasks_stand_in_one_figure_unless_some_are_named() -> None:
    svg = plots.interval_points(make_benchmark(), "mrr", {}, "x")
    assert {"mrr, sequential", "mrr, straightforward"} <= set(words(svg))


def test_each_loss_has_a_figure_with_its_held_out_values_and_the_language_model_alone() -> None:
    training = make_showcase()["training"]
    assert list(plots.curves(training["stage1"], {}, "x")) == ["ii", "itc"]
    stage2 = plots.curves(training["stage2"], {"why": "reasons"}, "y")
    assert list(stage2) == ["sequential_answer", "why"]
    assert "reasons" in words(stage2["why"])
    assert plots.QUIET in lines(stage2["sequential_answer"])
    assert plots.QUIET not in lines(stage2["why"])
    assert plots.ACCENT in lines(plots.curves(training["stage1"], {}, "x")["itc"])


def lines(svg: str) -> set[str]:
    """Colours of the lines."""
    return set(re.findall(r"fill: none; stroke: (#\w+); stroke-(?:opacity: [\d.]+; stroke-)?width: (?:1.6|0.7)", svg))


def test_training_with_one_loss_shows_it() -> None:
    assert list(plots.curves([{"step": 0, "loss": 2.0}, {"step": 1, "loss": 1.0}], {}, "x")) == ["loss"]


def test_smoothing_is_the_mean_of_a_centred_window() -> None:
    values = np.random.default_rng(0).normal(size=100)
    smoothed = plots._smooth(values)
    assert smoothed[50] == pytest.approx(values[48:53].mean())
    assert smoothed[0] == pytest.approx(values[:3].mean())
    assert smoothed[-1] == pytest.approx(values[-3:].mean())


def test_dots_stand_where_the_items_are_with_the_second_axis_upwards() -> None:
    space = {"groups": ["War", "Drama"], "group_of": [0, -1, 1, 0]}
    svg = plots.item_points(space, [[1, 2], [3, 4], [5, 6], [7, 8]], 10)
    assert re.findall(r'class="(\w+)" d="([^"]*)"', svg) == [
        ("other", "M3 6h0"), ("group0", "M1 8h0M7 2h0"), ("group1", "M5 4h0")
    ]  # fmt: skip


def test_ids_of_two_figures_on_a_page_never_meet() -> None:
    one, two = (plots.interval_points(make_benchmark(), "mrr", {}, name) for name in ("one", "two"))
    ids = [set(re.findall(r'\sid="([^"]+)"', svg)) for svg in (one, two)]
    assert all(ids)
    assert not ids[0] & ids[1]
