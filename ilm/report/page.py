"""What all pages share: how templates are filled, what things are called, and figures in a page's font and colours."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilm.eval.significance import PairedTest
from ilm.report import plots

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

LABELS = {
    "popularity": "Popularity",
    "als": "ALS",
    "ilm": "ILM",
    "ilm-rand": "ILM-rand",
    "ilm-unseen": "ILM, unseen prompt",
    "ilm-titles": "ILM, titles generated",
    "ilm-indexes": "ILM, indexes generated",
    "mlp": "MLP",
    "text": "Text only",
    "item-knn": "Item-kNN",
    "recent-items": "Recent items",
    "sasrec": "SASRec",
    "sequential": "Sequential",
    "straightforward": "Straightforward",
    "hr_at_5": "HR@5",
    "hr_at_10": "HR@10",
    "ndcg_at_5": "NDCG@5",
    "ndcg_at_10": "NDCG@10",
    "mrr": "MRR",
    "new": "none at all",
    "first_without": "First question, no wish",
    "first_seen": "First question, words of training",
    "first_unseen": "First question, other words",
    "second_without": "Second question, no wish",
    "second_seen": "Second question, words of training",
    "second_unseen": "Second question, other words",
    "value": "a value, such as a genre",
    "decade": "a decade",
    "likeness": "like an item of the history",
    "fulfilled_at_1": "First item fulfils it",
    "fulfilled_at_10": "Of ten, fulfil it",
    "distinct_at_1": "Distinct@1",
    "distinct_at_10": "Distinct@10",
    "seen": "words of training",
    "unseen": "other words",
    "leave_one_out": "leave one out (last interaction of each user)",
    "global_time": "global time (everything after one moment)",
}
LOSSES = {
    "itc": "item-text contrast (ITC)",
    "itm": "item-text matching (ITM)",
    "itg": "text generation (ITG)",
    "ii": "item-item contrast (II)",
    "ui": "user-item contrast (UI)",
    "query_cosine": "cosine of queries (no loss)",
    "sequential_history": "next item, at every place",
    "sequential_answer": "next item, sequential",
    "straightforward_answer": "next item, straightforward",
    "title_history": "titles: next item, every place",
    "title_answer": "titles: next item",
    "title_language": "titles: words",
    "conversation_answer": "conversation: item",
    "conversation_language": "conversation: words",
    "description_language": "descriptions: words",
    "attributes_language": "attributes: words",
    "comparison_language": "comparisons: words",
    "why_language": "reasons: words",
}
"""What the figures of training call a loss."""
_COLOURS = {
    plots.INK: "ink",
    plots.QUIET: "quiet",
    plots.GRID_LINE: "line",
    plots.PLAIN: "plain",
    plots.ACCENT: "accent",
}
"""Of the figures -> the variable of the page's style sheet that takes their place."""


def environment() -> "Environment":
    """Templates of this folder; what they are given is escaped, and what they lack is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        label=label, signed=signed, p_value=p_value, share=share, count="{:,}".format, verdict=verdict
    )
    return templates


def label(name: Any) -> Any:
    """What a system, task or metric is called on a page."""
    return LABELS.get(name, name)


def signed(value: float, digits: int = 4) -> str:
    """With its sign, and a true minus."""
    return f"{value:+z.{digits}f}".replace("-", "\N{MINUS SIGN}")


def p_value(value: float) -> str:
    """`< 0.001` or three digits."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def verdict(test: Mapping[str, float], good: int = 1) -> str:
    """`better`, `worse` or `no proven difference`; `good`: 1 where more is better, -1 where less is."""
    said = PairedTest(**test).verdict
    return {"better": "worse", "worse": "better"}.get(said, said) if good < 0 else said


def share(value: float, digits: int = 1) -> str:
    """As a percentage."""
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def figure(svg: str) -> "Markup":
    """A figure of `ilm.report.plots` as a part of a page: its font, colours by day and night, no style of its own."""
    from markupsafe import Markup

    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    for colour, name in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return Markup(svg)  # our own drawing: words in it are escaped by matplotlib
