"""Recommendation templates: ten seen and one unseen per task, the user behind the history."""

import string

import pytest

from ilm.prompts.templates import FIRST, SEEN, TASKS, UNSEEN


def test_user_vector_always_comes_after_the_history_it_summarises():
    for template in (*SEEN["sequential"], UNSEEN["sequential"]):
        assert template.index("{history}") < template.index("{user}"), template


def test_no_prompt_begins_with_soft_tokens():
    """The first position of a causal language model without a start token is where attention is dumped."""
    for task in TASKS:
        assert not [template for template in (*SEEN[task], UNSEEN[task]) if template.startswith("{")]


@pytest.mark.parametrize("task", TASKS)
def test_ten_seen_templates_differ_from_each_other_and_the_unseen_one(task):
    assert len(set(SEEN[task])) == 10
    assert UNSEEN[task] not in SEEN[task]


@pytest.mark.parametrize("task", TASKS)
def test_straightforward_templates_show_no_history(task):
    for template in (*SEEN[task], UNSEEN[task]):
        fields = [field for _, field, _, _ in string.Formatter().parse(template) if field]
        assert fields == (["history", "user"] if task == "sequential" else ["user"])


def test_rankings_ask_by_a_seen_template():
    assert {task: SEEN[task][0] for task in TASKS} == FIRST
