"""The table of stage 1's retrieval check: what was measured, and what guessing would find."""

import math

import numpy as np
import pytest

from ilm.report.stage1_retrieval import retrieval_table

MEASURED = {
    f"{direction}_recall_at_{cutoff}": value
    for direction, values in {"item_to_text": (0.2, 0.5), "text_to_item": (0.1, 0.4)}.items()
    for cutoff, value in zip((1, 10), values, strict=True)
}
TEXTS = np.array([0] * 2 + [1] * 1 + list(range(2, 40)), np.int32)
"""Item 0 has two texts, all others one: 41 texts of 40 items."""


def test_recalls_are_those_of_the_last_record() -> None:
    to_text, to_item = retrieval_table([{"step": 0, "itc": 1.0}, {"step": 1} | MEASURED], TEXTS, items=50)
    assert (to_text["recall_at_1"], to_text["recall_at_10"], to_text["among"]) == (0.2, 0.5, 41)
    assert (to_item["recall_at_1"], to_item["recall_at_10"], to_item["among"]) == (0.1, 0.4, 50)


@pytest.mark.parametrize("cutoff", [1, 10])
def test_chance_is_that_of_drawing_without_putting_back(cutoff: int) -> None:
    to_text, to_item = retrieval_table([MEASURED], TEXTS, items=50)
    missed = [math.comb(41 - own, cutoff) / math.comb(41, cutoff) for own in [2] + [1] * 39]
    assert to_text[f"chance_at_{cutoff}"] == pytest.approx(1 - np.mean(missed))
    assert to_item[f"chance_at_{cutoff}"] == pytest.approx(cutoff / 50)


def test_everything_is_found_where_there_is_less_than_is_listed() -> None:
    to_text, to_item = retrieval_table([MEASURED], np.array([0, 1, 2], np.int32), items=3)
    assert to_text["chance_at_10"] == to_item["chance_at_10"] == 1.0


@pytest.mark.parametrize("history", [[], [{"step": 0, "itc": 1.0}]])
def test_training_without_a_check_has_no_table(history: list[dict[str, float]]) -> None:
    assert retrieval_table(history, TEXTS, items=50) == []
