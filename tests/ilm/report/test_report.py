"""The report: readable offline, escaped, the same bytes for the same numbers, and true to them."""

import copy
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from ilm.report.benchmark_page import render_benchmark
from ilm.report.report import comparisons, render
from tests.tiny_report import TASKS, make_benchmark, make_metrics, make_showcase

CHECKS = {"sasrec, seed 0": [{"step": 100, "seconds": 12.5, "hr_at_10": 0.2, "ndcg_at_10": 0.1, "loss": 3.5}]}
VOID = {"meta", "br", "hr", "img", "link", "input"}


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
    return render(make_metrics(), make_showcase())


@pytest.fixture(scope="module")
def everything() -> str:
    return render(make_metrics(), make_showcase(), {"tiny": make_benchmark(), "stage1-tiny": make_benchmark()})


@pytest.fixture(scope="module")
def benchmark() -> str:
    environment = {"python": "3.11", "packages": {"torch": "2"}, "cores": 2}
    return render_benchmark("tiny", make_benchmark(), "ilm bench tiny", environment, "cf: {}", CHECKS)


@pytest.fixture(params=["text", "everything", "benchmark"])
def any_page(request: pytest.FixtureRequest) -> str:
    page: str = request.getfixturevalue(request.param)
    return page


def test_page_loads_nothing_from_elsewhere(any_page: str) -> None:
    page = Page(any_page)
    assert not page.tags & {"script", "link", "img", "iframe", "base", "object"}
    assert not re.search(r"@import|url\((?!#)|https?:(?!//www\.w3\.org/)", any_page)
    assert all(address.startswith(("#", "bench/")) for address in page.addresses)


def test_page_is_well_formed_and_ids_are_unique(any_page: str) -> None:
    page = Page(any_page)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)


def test_figures_take_the_colours_and_the_font_of_the_page(any_page: str) -> None:
    drawn = "".join(re.findall(r"<svg.*?</svg>", any_page, re.DOTALL))
    assert not re.search(r"#[0-9a-f]{6}\b", drawn)
    assert set(re.findall(r"font-family: ([^;\"]*)", drawn)) == {"inherit"}
    names = set(re.findall(r"var\(--(\w+)\)", drawn))
    assert names
    assert names <= set(re.findall(r"--(\w+):", any_page))


def test_equal_numbers_give_equal_bytes(text: str) -> None:
    assert render(make_metrics(), make_showcase()) == text


def test_everything_from_outside_is_escaped() -> None:
    evil, showcase = "<script>alert(1)</script>", make_showcase()
    showcase["settings"]["data"]["folder"] = evil
    showcase["item_space"] |= {"column": evil, "groups": [evil, "War"]}
    showcase["users"] = [{**showcase["users"][0], "user": evil, "held_out": evil, "recommended": [evil]}]
    page = render(make_metrics(), showcase)
    assert "script" not in Page(page).tags
    assert page.count("&lt;script&gt;") >= 5


def test_every_entry_of_the_contents_leads_to_a_section(text: str) -> None:
    contents = re.findall(r'<li><a href="#([\w-]+)">', text)
    assert contents == re.findall(r'<section id="([\w-]+)">', text)


def test_headline_numbers_stand_in_the_page(text: str) -> None:
    for tasks in make_metrics()["systems"].values():
        for settings in tasks.values():
            for values in settings.values():
                assert all(f">{value:.4f}<" in text for value in values.values())


def test_own_system_stands_first_and_the_best_baseline_next(text: str) -> None:
    metrics = make_metrics()
    metrics["systems"]["als"]["sequential"]["filtered"]["hr_at_10"] = 0.01
    table = render(metrics, make_showcase()).split("Sequential recommendation")[1]
    assert table.index("<td>ILM</td>") < table.index("<td>Popularity</td>") < table.index("<td>ALS</td>")
    table = text.split("Sequential recommendation")[1]
    assert table.index("<td>ILM</td>") < table.index("<td>ALS</td>") < table.index("<td>Popularity</td>")


def test_proven_differences_are_said_in_words() -> None:
    metrics = make_metrics()
    for p_holm, difference in ((0.01, 0.2), (0.01, -0.2), (0.2, 0.2)):
        cell = {"difference": difference, "low": 0.1, "high": 0.3, "p_value": 0.001, "p_holm": p_holm}
        metrics["significance"]["paired"]["ilm_minus_als"]["sequential"]["filtered"]["hr_at_10"] = cell
        row = row_of(render(metrics, make_showcase()).split("Sequential recommendation")[1], "ALS")
        said = "no proven difference" if p_holm > 0.05 else "ILM is better" if difference > 0 else "ILM is worse"
        assert said in row


def row_of(table: str, name: str) -> str:
    """The table row that begins with a name."""
    return table.split(f"<td>{name}</td>")[1].split("</tr>")[0]


def test_training_curves_only_of_stages_that_trained(text: str) -> None:
    assert "item-text contrast (ITC)" in text
    showcase = make_showcase()
    showcase["training"]["stage1"] = []
    assert "Stage 1: the encoder" not in render(make_metrics(), showcase)
    showcase["training"]["stage2"] = []
    assert '<section id="training">' not in render(make_metrics(), showcase)


def test_losses_of_the_other_tasks_are_folded_away(text: str) -> None:
    stage2 = text.split("Stage 2: adapter")[1]
    assert stage2.index("next item, sequential") < stage2.index("1 losses of the other tasks") < stage2.index(">why<")


def test_recalls_are_a_table_and_no_curve(text: str) -> None:
    assert "recall at 1" not in text
    row = row_of(text, "From an item to its text")
    assert [word in row for word in ("50.0", "2.50", "75.0", "25.00")] == [True] * 4


def test_picture_has_a_dot_for_every_item_and_the_colours_a_key(text: str) -> None:
    for picture in re.findall(r'<svg class="items".*?</svg>', text):
        assert picture.count("h0") == 20
        assert 'class="group0"' in picture
    assert ">War</span>" in text


def test_catalogue_without_categories_is_said_to_have_none() -> None:
    showcase = make_showcase()
    showcase["item_space"] |= {"column": None, "groups": [], "group_of": [-1] * 20, "chance": None}
    for space in showcase["item_space"]["spaces"].values():
        space["same_category"] = None
    page = render(make_metrics(), showcase)
    assert "has no column that sorts its items" in page
    assert "By chance</td>" not in page.split('<section id="space">')[1].split("</section>")[0]


def test_conversations_of_the_five_users_are_judged_beside_chance(text: str) -> None:
    assert "10 of 15 answers to a wish fulfil it" in text
    assert "would fulfil 3.8" in text
    assert text.count("2 of 3 fulfil it; of the catalogue, 25.0") == 5


def test_request_is_compared_with_the_text_prompt(text: str) -> None:
    cost = text.split("Of a request")[1]
    assert [">20.0<" in cost, ">150.0<" in cost, ">7.5<" in cost] == [True] * 3
    assert ">1,200<" in cost, "prompt tokens per second"
    assert ">60<" in cost, "users per second"


def test_parts_that_were_not_measured_are_left_out() -> None:
    metrics = make_metrics()
    for part in ("conversation", "prompts", "plain_text"):
        del metrics[part]
    page = render(metrics, make_showcase())
    assert not set(re.findall(r'id="([\w-]+)"', page)) & {"conversation", "prompts", "plain-text"}
    nobody = make_metrics() | {"conversation": {"users": 5, "users_without_a_wish": 5}}
    assert "5 are left out" in render(nobody, make_showcase())


def test_users_drawn_by_lot_are_said_to_be() -> None:
    metrics = make_metrics()
    for cases, said in ((metrics["data"] | {"asked": 30, "cases": 670_000}, True), ({"asked": 30, "cases": 30}, False)):
        page = render(metrics | {"data": metrics["data"] | cases}, make_showcase())
        assert ("drawn by lot" in page) is said
        assert ("670,000" in page) is said


def test_page_of_everything_shows_each_benchmark_and_links_to_its_page(everything: str, text: str) -> None:
    for name in ("tiny", "stage1-tiny"):
        assert f'<a href="bench/{name}/report.html">' in everything
        assert f"<h3>{name}</h3>" in everything
    assert "Text only did not run</b>: none of the items has a title." in everything
    assert "ilm ablate" in text
    assert "None were run yet" in render(make_metrics(), make_showcase(), {})


def test_benchmark_page_gives_the_spread_between_seeds_and_single_seeds(benchmark: str) -> None:
    deviation = make_benchmark()["significance"]["intervals"]["ilm"]["sequential"]["filtered"]["mrr"]["seed_deviation"]
    assert f"± {deviation:.4f}" in row_of(benchmark, "ILM")
    assert "±" not in row_of(benchmark, "ALS")
    assert "ilm bench tiny" in benchmark


ESTIMATE = {"mean": 0.5, "low": 0.4, "high": 0.6, "seed_deviation": None}


def elm(metric: str, difference: float) -> dict[str, Any]:
    test = {"difference": difference, "low": difference, "high": difference, "p_value": 0.001, "p_holm": 0.001}
    cells = {"average": ESTIMATE, "long_description": ESTIMATE}
    found = {"intervals": {"ilm": cells, "mlp": cells}, "paired": {"ilm_minus_mlp": {"average": test}}}
    return {metric: found, "references": 10}


@pytest.mark.parametrize(
    ("metric", "difference", "verdict"),
    [
        ("semantic_consistency", 0.1, "better"),
        ("semantic_consistency", -0.1, "worse"),
        ("log_perplexity", 0.1, "worse"),
        ("log_perplexity", -0.1, "better"),
    ],
)
def test_less_perplexity_is_better_and_more_consistency_is(metric: str, difference: float, verdict: str) -> None:
    page = render(make_metrics(), make_showcase(), {}, elm(metric, difference)).split('<section id="elm">')[1]
    assert f"ILM is {verdict}" in row_of(page, "MLP")
    assert "long description" in page


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
    page = render(metrics, make_showcase())
    (row,) = [row for row in page.split("<tr>") if "<td>head</td><td>0</td>" in row]
    assert row.count(">\N{EN DASH}</td>") == 2 * 3
    assert set(TASKS) == set(metrics["slices"]["target_popularity"])
