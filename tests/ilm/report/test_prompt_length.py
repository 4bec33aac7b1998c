"""Prompt tokens, counted with byte tokenizers: a title is as long as its letters, a soft token is one."""

import numpy as np
import pytest

from ilm.prompts.templates import SEEN
from ilm.report.prompt_length import prompt_tokens
from ilm.train.run_finetune import NAME_TOKENS
from tests.ilm.train.conftest import ITEMS, build_bridge
from tests.tiny import save_language_model

TITLES = ["abcd"] * (ITEMS - 1) + ["x" * 40]


@pytest.fixture(scope="module")
def bridge(tmp_path_factory):
    return build_bridge(save_language_model(tmp_path_factory.mktemp("lm") / "tiny"))


def count(bridge, *histories: list[int]) -> dict:
    return prompt_tokens(bridge, 4, [np.array(history, np.int32) for history in histories], TITLES)


def test_soft_tokens_count_one_each_and_titles_their_letters(bridge) -> None:
    one, three = count(bridge, [0]), count(bridge, [0, 1, 2])
    assert three["model"] - one["model"] == 2
    assert three["text"] - one["text"] == 2 * len(" abcd,")


def test_words_of_the_template_count_in_both(bridge) -> None:
    words = len(SEEN["sequential"][0].replace(" {history}", "").replace(" {user}", ""))
    found = count(bridge, [0])
    assert found["model"] == words + 1 + 1, "an item and the user"
    assert found["text"] == words + len(" abcd,"), "titles only: there is no vector of the user"


def test_only_the_latest_items_are_shown_and_long_titles_are_cut(bridge) -> None:
    assert count(bridge, [3, 0, 1, 2, 0])["model"] == count(bridge, [0, 1, 2, 0])["model"]
    assert count(bridge, [ITEMS - 1])["text"] - count(bridge, [0])["text"] == NAME_TOKENS - len(" abcd,")


def test_requests_are_summed(bridge) -> None:
    both = count(bridge, [0], [0, 1, 2])
    assert both["requests"] == 2
    for kind in ("model", "text"):
        assert both[kind] == count(bridge, [0])[kind] + count(bridge, [0, 1, 2])[kind]
