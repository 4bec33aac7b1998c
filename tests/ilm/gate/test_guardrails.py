"""Each guardrail just kept and just broken."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from ilm.eval.metrics import METRICS
from ilm.gate.guardrails import absolute, against, sentence
from tests.ilm.gate.conftest import gate, of_ranks

SCORES = of_ranks([1, 1, *[1000] * 8])  # hit rate 0.2


def only(rails: list[Any], name: str) -> Any:
    (found,) = (rail for rail in rails if name in rail.name)
    return found


@pytest.mark.parametrize(("floor", "verdict"), [(0.2, "pass"), (0.2001, "fail")])
def test_floor(floor: float, verdict: str) -> None:
    rail = only(absolute(SCORES, gate(floors={"hr_at_10": floor})), "floor of hr_at_10")
    assert (rail.verdict, rail.challenger, rail.champion) == (verdict, 0.2, None)


@pytest.mark.parametrize(("invalid", "verdict"), [(0, "pass"), (1, "fail")])
def test_no_invalid_item_is_allowed(invalid: int, verdict: str) -> None:
    assert only(absolute(replace(SCORES, invalid_items=invalid), gate()), "invalid items").verdict == verdict


@pytest.mark.parametrize(("coverage", "verdict"), [(0.41, "pass"), (0.39, "fail")])
def test_coverage_is_measured_against_the_champions(coverage: float, verdict: str) -> None:
    champion, challenger = replace(SCORES, coverage=0.5), replace(SCORES, coverage=coverage)
    rail = only(against(champion, challenger, gate(min_coverage_ratio=0.8)), "coverage")
    assert rail.verdict == verdict
    assert (
        sentence(rail)
        == f"Guardrail coverage of first 10: {coverage} (champion: 0.5000); at least 0.8 of the champion's."
    )


@pytest.mark.parametrize(("drop", "verdict"), [(0.26, "pass"), (0.24, "fail")])
def test_metric_on_rare_targets_may_fall_by_so_much(drop: float, verdict: str) -> None:
    """On the four rare targets the champion has NDCG 0.25, the challenger 0, although it is better on the others."""
    champion = of_ranks([1, *[1000] * 9], rare=range(4))
    challenger = of_ranks([1000] * 4 + [1] * 6, rare=range(4))
    rail = only(against(champion, challenger, gate(max_cold_drop=drop, min_cold_users=4)), "rare")
    assert (rail.verdict, rail.champion, rail.challenger) == (verdict, 0.25, 0.0)


def test_a_slice_of_too_few_is_not_judged_and_says_so() -> None:
    scores = of_ranks([1] * 10, rare=range(4))
    rail = only(against(scores, scores, gate(min_cold_users=5)), "rare")
    assert rail.verdict == "not judged"
    assert rail.rule == "4 users have a rare target, fewer than 5"


def test_every_metric_can_decide_and_have_a_floor() -> None:
    for metric in METRICS:
        assert absolute(SCORES, gate(metric=metric, floors={metric: 0.0}))[0].verdict == "pass"


@pytest.mark.parametrize(
    "wrong", [{"metric": "auc"}, {"floors": {"auc": 0.1}}, {"alpha": 0.5}, {"margin": float("nan")}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        gate(**wrong)
