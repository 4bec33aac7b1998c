"""The report: readable offline, escaped, the same bytes for the same numbers, and true to them."""

import copy
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from ilm.eval.protocol import TOP, Cases, Ranking
from ilm.eval.report import comparisons, render
from ilm.eval.summary import headline, significance, slices

VOID = {"meta", "br", "hr", "img", "link", "input"}


def make_metrics() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    seen = [np.zeros(length, np.int32) for length in rng.integers(1, 9, 30)]
    cases = Cases(np.arange(30, dtype=np.int32), rng.integers(0, 20, 30).astype(np.int32), seen, seen)

    def ranking(best: int) -> Ranking:
        ranks = rng.integers(1, best, 30).astype(np.int32)
        return Ranking(ranks, ranks + 1, rng.integers(0, 20, (30, TOP)).astype(np.int32))

    tasks = ("sequential", "straightforward")
    worst = {"popularity": 90, "als": 60, "ilm": 20}
    rankings = {system: {task: ranking(best) for task in tasks} for system, best in worst.items()}
    return {
        "data": {"users": 30, "items": 20, "interactions": 1234, "split": "leave_one_out"},
        "systems": headline(rankings),
        "significance": significance(rankings, "ilm", samples=100, seed=0),
        "slices": slices(rankings, dict.fromkeys(tasks, cases), np.arange(20), np.ones(20, bool)),
        "cost": {
            "cf": {"seconds": 2.5, "peak_memory_mb": 300.0},
            "finetune": {"seconds": 30, "peak_memory_mb": 4000.4},
        },
    }


HISTORIES = {
    "Stage 1": [{"step": 0, "loss": 3.0, "itc": 2.0, "held_out_itc": 2.2}, {"step": 1, "loss": 2.0, "item_item": 1.5}],
    "Stage 2": [{"step": 0, "loss": 3.0}],
    "Not trained": [],
}


class Page(HTMLParser):
    """Collects ids, addresses and unbalanced tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def text() -> str:
    return render(make_metrics(), HISTORIES, "cf:\n  factors: 64\n")


def test_page_loads_nothing_from_elsewhere(text: str) -> None:
    page = Page(text)
    assert not page.tags & {"script", "link", "img", "iframe"}
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search(r"@import|url\((?!#)", text)


def test_page_is_well_formed_and_ids_are_unique(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses} <= set(page.ids)


def test_equal_numbers_give_equal_bytes(text: str) -> None:
    assert render(make_metrics(), HISTORIES, "cf:\n  factors: 64\n") == text


def test_everything_from_outside_is_escaped() -> None:
    page = render(make_metrics(), {"<b>stage": HISTORIES["Stage 2"]}, "folder: <script>alert(1)</script>")
    assert "script" not in Page(page).tags
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;stage" in page


def test_headline_numbers_stand_in_the_page(text: str) -> None:
    for tasks in make_metrics()["systems"].values():
        for settings in tasks.values():
            for values in settings.values():
                assert all(f">{value:.4f}<" in text for value in values.values())


def test_training_curves_only_of_stages_that_trained(text: str) -> None:
    assert "Stage 1" in text
    assert "held out" in text
    assert "Not trained" not in text
    assert "<h2>Training</h2>" not in render(make_metrics(), {}, "")


def test_cost_is_listed_dearest_first_with_total(text: str) -> None:
    assert text.index("<td>finetune</td>") < text.index("<td>cf</td>") < text.index("32.5 s")


def conclusion(difference: float, low: float, high: float, p_holm: float) -> str:
    metrics = copy.deepcopy(make_metrics())
    cell = {"difference": difference, "low": low, "high": high, "p_value": p_holm / 2, "p_holm": p_holm}
    metrics["significance"]["paired"]["ilm_minus_als"]["sequential"]["filtered"]["hr_at_10"] = cell
    (entry,) = (
        e for e in comparisons(metrics) if (e["baseline"], e["task"], e["metric"]) == ("als", "sequential", "hr_at_10")
    )
    return str(entry["conclusion"]).replace("\N{NO-BREAK SPACE}", " ")


def test_proven_gain_is_called_better() -> None:
    expected = "ILM is better: +1.0 to +5.0 percentage points with 95 % confidence (p < 0.001)."
    assert conclusion(0.03, 0.01, 0.05, 0.0004) == expected


def test_proven_loss_is_called_worse() -> None:
    expected = (
        "ILM is worse: \N{MINUS SIGN}5.0 to \N{MINUS SIGN}1.0 percentage points with 95 % confidence (p = 0.012)."
    )
    assert conclusion(-0.03, -0.05, -0.01, 0.012) == expected


def test_what_the_corrected_test_does_not_prove_is_not_called_better() -> None:
    expected = "No proven difference: \N{MINUS SIGN}0.1 to +5.0 percentage points with 95 % confidence (p = 0.060)."
    assert conclusion(0.03, -0.001, 0.05, 0.06) == expected


def test_slice_without_users_is_shown_as_a_dash() -> None:
    metrics = make_metrics()
    metrics["slices"]["target_popularity"]["sequential"]["head"] = {"users": 0, "systems": {}}
    page = render(metrics, {}, "")
    assert page.count(">\N{EN DASH}</td>") == 2 * 3
