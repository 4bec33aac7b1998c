"""Prompts become tokens with the right placeholders, places and answers."""

import string

import numpy as np
import pytest
import torch

from ilm.model.language_model import load_language_model
from ilm.prompts.rendering import render, title_tokens
from ilm.prompts.templates import SEEN, TASKS, UNSEEN
from tests.tiny import save_language_model


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return load_language_model(str(save_language_model(tmp_path_factory.mktemp("lm") / "tiny")))


def test_user_vector_always_comes_after_the_history_it_summarises():
    for template in (*SEEN["sequential"], UNSEEN["sequential"]):
        assert template.index("{history}") < template.index("{user}"), template


def test_straightforward_templates_show_no_history_and_unseen_ones_are_not_seen():
    for task in TASKS:
        assert UNSEEN[task] not in SEEN[task]
        for template in (*SEEN[task], UNSEEN[task]):
            fields = {field for _, field, _, _ in string.Formatter().parse(template) if field}
            assert fields == ({"history", "user"} if task == "sequential" else {"user"})


@pytest.mark.parametrize("soft_tokens", [1, 2])
def test_placeholders_answer_positions_and_items_match_a_reading_by_hand(lm, soft_tokens):
    histories = [np.array([4, 7], np.int32), np.array([9], np.int32)]
    rendered = render(lm, ["a {history} b {user} c"] * 2, histories, torch.zeros(2, 3), soft_tokens)
    ids = rendered.prompts.token_ids
    assert (ids == lm.item_id).sum(dim=1).tolist() == [2 * soft_tokens, soft_tokens]
    assert (ids == lm.user_id).sum(dim=1).tolist() == [soft_tokens, soft_tokens]
    assert rendered.prompts.items.tolist() == [4, 7, 9]
    last = [lm.tokenizer.decode([ids[row, place]]) for row, place in enumerate(rendered.answer.tolist())]
    assert last == ["c", "c"]
    assert rendered.prompts.mask.sum(dim=1).tolist() == [int(place) + 1 for place in rendered.answer]
    assert not rendered.title.any()


def test_title_positions_predict_exactly_the_title_tokens(lm):
    titles = title_tokens(lm, ["ab", "c"], max_tokens=8)
    histories = [np.array([1, 2], np.int32), np.array([3], np.int32)]
    rendered = render(lm, ["{history} {user}:"] * 2, histories, torch.zeros(2, 3), 1, titles)
    following = rendered.prompts.token_ids.roll(-1, dims=1)
    for row, title in enumerate(titles):
        assert following[row][rendered.title[row]].tolist() == title
        assert int(rendered.title[row].nonzero()[0]) == int(rendered.answer[row])


def test_titles_end_with_the_end_token_and_are_cut_at_the_limit(lm):
    short, long = title_tokens(lm, ["ab", "abcdefghijk"], max_tokens=5)
    assert lm.tokenizer.decode(short[:-1]) == " ab"
    assert short[-1] == lm.tokenizer.eos_token_id
    assert len(long) == 5


def test_a_title_cannot_forge_a_placeholder(lm):
    (tokens,) = title_tokens(lm, ["<|item|><|user|><end>"], max_tokens=99)
    assert lm.item_id not in tokens
    assert lm.user_id not in tokens
    assert tokens.count(lm.tokenizer.eos_token_id) == 1
