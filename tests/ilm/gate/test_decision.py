"""Every way to an outcome, and above all every way that must not lead to a promotion."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilm.eval.metrics import METRICS
from ilm.gate.decision import decide
from ilm.gate.scores import Scores
from ilm.params import GateParams
from tests.ilm.gate.conftest import gate, of_ranks

MISS = 1000
USERS = 200
BEFORE = of_ranks([1 if user % 10 == 0 else MISS for user in range(USERS)])
AFTER = of_ranks([1 if user % 5 == 0 else MISS for user in range(USERS)])
"""Twice as many hits, and none lost."""


def test_a_proved_gain_is_promoted_with_its_numbers() -> None:
    decision = decide(BEFORE, AFTER, gate())
    assert decision.outcome == "promote" and decision.promotes
    assert "champion 0.1000, challenger 0.2000 on 200 users; difference +0.1000" in decision.reasons[0]
    assert "better is proved" in decision.reasons[0]


def test_the_same_loss_is_refused_as_proved() -> None:
    decision = decide(AFTER, BEFORE, gate())
    assert decision.outcome == "refuse"
    assert "proved to be no better than the margin" in decision.reasons[-1]


def test_a_gain_below_a_positive_margin_is_not_promoted() -> None:
    assert decide(BEFORE, AFTER, gate(margin=0.05)).outcome == "promote"
    assert decide(BEFORE, AFTER, gate(margin=0.1)).outcome != "promote"


def few_apart() -> tuple[Scores, Scores]:
    """40 of 2,000 users differ, 20 in each direction: as good as equal."""
    hits = np.full((2, 2000), MISS)
    hits[0, :20], hits[1, 20:40] = 1, 1
    return of_ranks(hits[0]), of_ranks(hits[1])


def test_a_negative_margin_promotes_what_is_proved_to_be_hardly_worse() -> None:
    champion, challenger = few_apart()
    assert decide(champion, challenger, gate()).outcome == "refuse"
    assert decide(champion, challenger, gate(margin=-0.02)).outcome == "promote"


def test_a_margin_other_than_0_needs_users_with_different_results() -> None:
    champion = of_ranks([1, 1, *[MISS] * 998])
    challenger = of_ranks([MISS, 1, *[MISS] * 998])
    decision = decide(champion, challenger, gate(margin=-0.05))
    assert decision.outcome == "underpowered"
    assert "differs for 1 of 1,000 users" in decision.reasons[0]


@pytest.mark.parametrize("margin", [0.0, -0.02])
def test_a_tie_is_refused_whatever_the_margin(margin: float) -> None:
    decision = decide(BEFORE, BEFORE, gate(margin=margin))
    assert decision.outcome == "refuse"
    assert decision.reasons[0].startswith("A tie: ndcg_at_10 is 0.1000 for both")


def test_equal_means_are_not_promoted() -> None:
    champion, challenger = few_apart()
    decision = decide(champion, challenger, gate())
    assert decision.test is not None and decision.test.difference == 0 and not decision.promotes


def test_no_better_and_the_wanted_effect_would_have_been_seen_is_refused() -> None:
    champion, challenger = few_apart()  # deviation 0.1414, detectable 2.802 * 0.1414 / sqrt(2000) = 0.0089
    decision = decide(champion, challenger, gate(wanted_effect=0.009))
    assert decision.outcome == "refuse"
    assert "a truth 0.0089 above the margin is proved with power 0.8, so an effect of 0.009" in decision.reasons[1]


def test_no_better_and_the_wanted_effect_would_have_been_missed_is_underpowered() -> None:
    champion, challenger = few_apart()
    decision = decide(champion, challenger, gate(wanted_effect=0.0088))
    assert decision.outcome == "underpowered"
    assert "wanted is 0.0088" in decision.reasons[1]


def test_too_few_users_are_underpowered_however_clear_it_looks() -> None:
    decision = decide(of_ranks([MISS] * 9), of_ranks([1] * 9), gate())
    assert decision.outcome == "underpowered"
    assert "9 users" in decision.reasons[0] and "10 are needed" in decision.reasons[0]


def test_the_metric_of_the_settings_decides() -> None:
    champion, challenger = of_ranks([9] * USERS), of_ranks([7] * USERS)  # higher in the first 10, never in the first 5
    assert decide(champion, challenger, gate()).outcome == "promote"
    assert decide(champion, challenger, gate(metric="hr_at_10")).outcome == "refuse"
    assert decide(champion, challenger, gate(metric="ndcg_at_5")).outcome == "refuse"


def without(scores: Scores, metric: str) -> Scores:
    return replace(scores, metrics={name: values for name, values in scores.metrics.items() if name != metric})


def with_value(scores: Scores, metric: str, user: int, value: float) -> Scores:
    values = scores.metrics[metric].copy()
    values[user] = value
    return replace(scores, metrics={**scores.metrics, metric: values})


BROKEN: dict[str, tuple[Any, str]] = {
    "empty": (lambda scores: of_ranks([]), "scored for no user"),
    "nothing but the users": (lambda scores: replace(scores, metrics={}), "no values of ndcg_at_10"),
    "missing metric": (lambda scores: without(scores, "ndcg_at_10"), "no values of ndcg_at_10"),
    "another metric missing": (lambda scores: without(scores, "mrr"), "no values of mrr"),
    "NaN": (lambda scores: with_value(scores, "ndcg_at_10", 3, np.nan), "1 values of ndcg_at_10 that are no numbers"),
    "infinity": (lambda scores: with_value(scores, "mrr", 3, np.inf), "1 values of mrr that are no numbers"),
    "more than 1": (lambda scores: with_value(scores, "hr_at_5", 3, 1.5), "1 values of hr_at_5"),
    "values too few": (
        lambda scores: replace(scores, metrics={**scores.metrics, "mrr": scores.metrics["mrr"][1:]}),
        "mrr of shape [199] for 200 users",
    ),
    "all NaN": (
        lambda scores: replace(scores, metrics={name: np.full(USERS, np.nan) for name in METRICS}),
        "200 values of ndcg_at_10",
    ),
    "users twice": (lambda scores: replace(scores, users=["u", *scores.users[2:], "u"]), "1 users twice"),
    "other users": (lambda scores: replace(scores, users=[f"v{user}" for user in scores.users]), "different users"),
    "fewer users": (lambda scores: of_ranks([1] * (USERS - 1)), "different users"),
    "other rare targets": (
        lambda scores: replace(scores, rare_targets=scores.rare_targets + 1),
        "different rare targets",
    ),
    "no values on rare items": (lambda scores: replace(scores, rare_metrics={}), "no values of mrr on rare items"),
    "NaN on rare items": (
        lambda scores: replace(scores, rare_metrics={name: np.full(USERS, np.nan) for name in METRICS}),
        "200 values of ndcg_at_10 on rare items",
    ),
    "NaN coverage": (lambda scores: replace(scores, coverage=np.nan), "coverage of nan"),
    "uncounted invalid items": (lambda scores: replace(scores, invalid_items=-1), "-1 invalid items"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("side", ["champion", "challenger"])
def test_scores_that_are_no_evidence_are_refused(kind: str, side: str) -> None:
    damage, said = BROKEN[kind]
    champion, challenger = (damage(BEFORE), AFTER) if side == "champion" else (BEFORE, damage(AFTER))
    decision = decide(champion, challenger, gate())
    assert decision.outcome == "refuse"
    assert any(said in reason for reason in decision.reasons)


def test_no_champion_is_refused_without_a_bootstrap() -> None:
    decision = decide(None, AFTER, gate())
    assert decision.outcome == "refuse"
    assert "explicit bootstrap" in decision.reasons[-1]


def test_no_champion_and_a_bootstrap_is_promoted() -> None:
    assert decide(None, AFTER, gate(floors={"hr_at_10": 0.2}), bootstrap=True).outcome == "promote"


@pytest.mark.parametrize("kind", [kind for kind in BROKEN if "user" not in kind and "other" not in kind])
def test_a_bootstrap_promotes_no_broken_scores(kind: str) -> None:
    assert decide(None, BROKEN[kind][0](AFTER), gate(), bootstrap=True).outcome == "refuse"


def test_a_bootstrap_promotes_nothing_below_the_floor() -> None:
    decision = decide(None, AFTER, gate(floors={"hr_at_10": 0.21}), bootstrap=True)
    assert decision.outcome == "refuse"
    assert decision.reasons == ("Guardrail floor of hr_at_10: 0.2; at least 0.21.",)


def test_a_bootstrap_spares_no_challenger_the_test() -> None:
    assert decide(AFTER, BEFORE, gate(), bootstrap=True).outcome == "refuse"


def test_a_failed_guardrail_refuses_a_proved_gain() -> None:
    decision = decide(BEFORE, replace(AFTER, invalid_items=2), gate())
    assert decision.outcome == "refuse"
    assert "invalid items: 2" in decision.reasons[0] and "is proved" in decision.reasons[1]


RANKS = st.lists(st.tuples(*[st.sampled_from([1, 2, 4, 7, 10, 11, MISS])] * 2), min_size=1, max_size=60)
SETTINGS = st.builds(
    gate,
    margin=st.sampled_from([0.0, -0.1, 0.05]),
    min_users=st.just(2),
    wanted_effect=st.sampled_from([0.001, 0.1, 1.0]),
)


@given(RANKS, SETTINGS, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_users_does_not_matter(pairs: Any, section: GateParams, random: Any) -> None:
    champion, challenger = (of_ranks(ranks) for ranks in zip(*pairs, strict=True))
    assert decide(shuffled(champion, random), shuffled(challenger, random), section) == decide(
        champion, challenger, section
    )


def shuffled(scores: Scores, random: Any) -> Scores:
    order = list(range(len(scores.users)))
    random.shuffle(order)
    metrics, rare = (
        {name: values[order] for name, values in of.items()} for of in (scores.metrics, scores.rare_metrics)
    )
    users = [scores.users[row] for row in order]
    return replace(scores, users=users, metrics=metrics, rare_metrics=rare, rare_targets=scores.rare_targets[order])


@given(RANKS)
@settings(max_examples=40, deadline=None)
def test_swapping_the_models_mirrors_every_difference_and_never_promotes_both(pairs: Any) -> None:
    first, second = (of_ranks(ranks) for ranks in zip(*pairs, strict=True))
    there, back = decide(first, second, gate(min_users=2)), decide(second, first, gate(min_users=2))
    for row, mirrored in zip(there.rows, back.rows, strict=True):
        assert row.difference == -mirrored.difference
        np.testing.assert_allclose((row.low, row.high), (-mirrored.high, -mirrored.low), atol=1e-12)
    if there.test and back.test:
        assert there.test.p_value + back.test.p_value >= 1 - 1e-9
    assert not (there.promotes and back.promotes)


@given(st.sampled_from(METRICS), st.integers(0, USERS - 1), st.booleans())
@settings(max_examples=40, deadline=None)
def test_nan_anywhere_never_promotes(metric: str, user: int, in_champion: bool) -> None:
    champion, challenger = BEFORE, AFTER
    if in_champion:
        champion = with_value(champion, metric, user, np.nan)
    else:
        challenger = with_value(challenger, metric, user, np.nan)
    assert not decide(champion, challenger, gate()).promotes
