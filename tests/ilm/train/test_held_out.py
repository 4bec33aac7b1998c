"""What is kept out of stage 2, and the log-perplexity of its answers."""

import numpy as np
import pytest

from ilm.prompts.tasks import TASKS
from ilm.train.held_out import SAMPLE, held_out_language
from ilm.train.sampling import ItemTextSampler
from tests.ilm.train.conftest import ITEMS


def test_held_out_items_are_never_asked_about_in_training(stage2_data):
    held_out = set(stage2_data.held_out.items.tolist())
    assert len(held_out) == ITEMS // 4
    assert held_out.isdisjoint(stage2_data.material.items.tolist())
    assert not stage2_data.material.named[list(held_out)].any()


def test_stage_1_held_the_same_items_out(stage2_data):
    stage1 = ItemTextSampler(np.arange(ITEMS, dtype=np.int32), 0.5, seed=0)
    assert set(stage2_data.held_out.items.tolist()) < set(stage1.held_out.tolist())


def test_log_perplexity_is_summed_nats_over_summed_tokens(stage2_data):
    """Counted by a stand-in: an answer of k characters has k tokens and k * k nats, seeing or blind."""

    def nats(examples, blind):
        lengths = [len("".join(p for p in e.turns[0].answer if isinstance(p, str))) for e in examples]
        calls.append((blind, tuple(lengths)))
        return float(np.square(lengths).sum()) + blind, sum(lengths)

    calls = []
    values = held_out_language(stage2_data.held_out, {"description": 1, "sequential": 1}, nats, seed=0)
    (_, lengths), (_, blind) = calls
    assert lengths == blind
    assert len(lengths) == min(SAMPLE, len(stage2_data.held_out.items))
    assert values == {
        "held_out_description_language": pytest.approx(np.square(lengths).sum() / sum(lengths)),
        "held_out_description_language_blind": pytest.approx((np.square(lengths).sum() + 1) / sum(lengths)),
    }


def test_without_held_out_items_only_tasks_about_users_are_measured(stage2_data):
    nothing = type(stage2_data.held_out)(**{**vars(stage2_data.held_out), "items": np.zeros(0, np.int64)})
    values = held_out_language(nothing, dict.fromkeys(TASKS, 1), lambda examples, blind: (1.0, 1), seed=0)
    assert {key.split("_")[2] for key in values} == {"title", "why", "conversation"}
