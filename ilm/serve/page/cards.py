"""A recommended item as a card, and an explanation as a table."""

from collections.abc import Callable, Mapping
from typing import Any

from nicegui import ui

from ilm.serve.explanation import Explanation
from ilm.serve.question import Recommendation

_NAMES = ("item_id", "title", "active", "cold")
LONG = 160
"""Characters of a text that a card shows."""
REASONS = 12
"""Items of a history that an explanation shows."""


def item_card(
    item: Recommendation,
    facts: Mapping[str, Any],
    on_why: Callable[[str], Any],
    on_like: Callable[[str], Any],
) -> None:
    """Title, what the catalogue says, score, and two buttons that are told the item's id."""
    with ui.card().tight().classes("w-full"), ui.card_section().classes("w-full"):
        with ui.row().classes("w-full items-baseline justify-between no-wrap"):
            ui.label(item.title).classes("text-base font-medium")
            ui.label(f"{item.score:.2f}").classes("text-sm opacity-70").tooltip("comparable within one list only")
        for name, value in facts.items():
            if value and name not in _NAMES:
                ui.label(str(value)[:LONG]).classes("text-sm opacity-80").tooltip(name)
        if item.cold:
            ui.badge("new: a guess from its words").props("outline")
        with ui.row().classes("gap-1"):
            ui.button("Why?", on_click=lambda: on_why(item.item_id)).props("flat dense no-caps")
            ui.button("I liked it", on_click=lambda: on_like(item.item_id)).props("flat dense no-caps")


def explanation_table(explained: Explanation) -> None:
    """What each item of the history adds to the score, and how alike the two are; the strongest first."""
    ui.label(explained.title).classes("text-base font-medium")
    ui.label(f"rank {explained.rank:,} among what you have not seen, score {explained.score:.2f}").classes("text-sm")
    ordered = sorted(explained.history, key=lambda item: -(item.contribution or 0.0))
    columns = {"title": "your history", "adds": "adds to the score", "alike": "alike", "words": "alike in words"}
    rows = [
        {
            "title": item.title,
            "adds": "" if item.contribution is None else f"{item.contribution:+.2f}",
            "alike": f"{item.similarity:.2f}",
            "words": f"{item.text_similarity:.2f}",
        }
        for item in ordered[:REASONS]
    ]
    aligned = [
        {"name": name, "label": label, "field": name, "align": "left" if name == "title" else "right"}
        for name, label in columns.items()
    ]
    ui.table(columns=aligned, rows=rows).props("dense flat")
