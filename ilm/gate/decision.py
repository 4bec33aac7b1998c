"""From per-user scores to a decision: pure, the same for the same scores in any order, and promoting only on proof."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ilm.gate import guardrails
from ilm.gate.guardrails import Guardrail
from ilm.gate.margin_test import MarginTest, Row, compare, margin_test
from ilm.gate.scores import Scores, by_user, differences_in_kind, faults
from ilm.params import GateParams

Outcome = Literal["promote", "refuse", "underpowered", "error"]
MIN_UNTIED = 20
"""Users with different results that a test at a margin other than 0 needs. With 3 of them it errs in up to 17 of 100
decisions instead of 5, from 20 on in 5 to 7 (docs/decisions/gate.md); at margin 0 it is exact with any number."""


@dataclass(frozen=True)
class Decision:
    """What the gate says, why, and by which numbers."""

    outcome: Outcome
    """`promote`: proved; `refuse`: judged and not proved, or not fit to be judged; `underpowered`: too few users to
    tell; `error`: the comparison broke (only `ilm.gate.judge` says so)."""
    reasons: tuple[str, ...]
    """At least one sentence."""
    test: MarginTest | None = None
    """None where it could not be made."""
    rows: tuple[Row, ...] = ()
    """All metrics, if there is a champion."""
    guardrails: tuple[Guardrail, ...] = ()

    @property
    def promotes(self) -> bool:
        """Whether the challenger may become champion."""
        return self.outcome == "promote"


def decide(champion: Scores | None, challenger: Scores, settings: GateParams, *, bootstrap: bool = False) -> Decision:
    """Compare a challenger with the champion.

    Args:
        champion: its scores; None if no model serves yet.
        challenger: its scores, of the same users.
        settings: section `gate`.
        bootstrap: a first model may be promoted by its absolute guardrails alone; without effect if there is a
            champion.

    Returns:
        In this order: `refuse` if the scores are missing, empty, not numbers, or of different users; `underpowered`
        below `min_users`; `refuse` if they are equal for every user; `underpowered` below MIN_UNTIED with a margin
        other than 0; `refuse` if a guardrail fails; `promote` if the test passes; `refuse` if the challenger is proved
        to be no better than the margin, or if the wanted effect would have been seen; else `underpowered`.
    """
    wrong = faults(challenger, "challenger") + (faults(champion, "champion") if champion else [])
    if not wrong and champion:
        wrong = differences_in_kind(champion, challenger)
    if wrong:
        return Decision("refuse", tuple(wrong))
    challenger = by_user(challenger)
    if champion is None:
        return _first(challenger, settings, bootstrap)
    return _against(by_user(champion), challenger, settings)


def _first(challenger: Scores, settings: GateParams, bootstrap: bool) -> Decision:
    """Without a champion there is no proof, only a floor and somebody's word."""
    rails = tuple(guardrails.absolute(challenger, settings))
    reasons = _failures(rails)
    if not bootstrap:
        reasons += ("There is no champion to compare with; a first model is promoted only by an explicit bootstrap.",)
    if reasons:
        return Decision("refuse", reasons, guardrails=rails)
    said = f"First model, by explicit bootstrap: {len(challenger.users):,} users, no absolute guardrail broken."
    return Decision("promote", (said,), guardrails=rails)


def _against(champion: Scores, challenger: Scores, settings: GateParams) -> Decision:
    """Both sound, of the same users in the same order."""
    sampling = {"samples": settings.samples, "seed": settings.seed}
    rows = compare(champion.metrics, challenger.metrics, alpha=settings.alpha, **sampling)
    rails = (*guardrails.absolute(challenger, settings), *guardrails.against(champion, challenger, settings))
    failures, users, metric = _failures(rails), len(challenger.users), settings.metric

    def decision(outcome: Outcome, *reasons: str, test: MarginTest | None = None) -> Decision:
        return Decision(outcome, reasons, test, tuple(rows.values()), rails)

    differences = challenger.metrics[metric] - champion.metrics[metric]
    if users < settings.min_users:
        few = f"{users:,} users can be judged by fresh interactions; {settings.min_users:,} are needed (min_users)."
        return decision("underpowered", few, *failures)
    if not np.any(differences):
        tie = f"A tie: {metric} is {rows[metric].challenger:.4f} for both, and the same for each of {users:,} users."
        return decision("refuse", tie, *failures)
    untied = int(np.count_nonzero(differences))
    if settings.margin and untied < MIN_UNTIED:
        tied = f"{metric} differs for {untied} of {users:,} users; a margin other than 0 needs {MIN_UNTIED} of them."
        return decision("underpowered", tied, *failures)

    test = margin_test(
        rows[metric], differences, margin=settings.margin, alpha=settings.alpha, power=settings.power, **sampling
    )
    found = _finding(test, rows[metric])
    if failures:
        return decision("refuse", *failures, found, test=test)
    if test.passed:
        return decision("promote", found, test=test)
    if test.high <= test.margin:
        below = f"It is proved to be no better than the margin: the interval ends at {test.high:+.4f}."
        return decision("refuse", found, below, test=test)
    reach = f"With so many users a truth {test.detectable:.4f} above the margin is proved with power {settings.power:g}"
    if test.detectable > settings.wanted_effect:
        return decision(
            "underpowered", found, f"{reach}; wanted is {settings.wanted_effect:g} (wanted_effect).", test=test
        )
    return decision("refuse", found, f"{reach}, so an effect of {settings.wanted_effect:g} had its chance.", test=test)


def _failures(rails: tuple[Guardrail, ...]) -> tuple[str, ...]:
    return tuple(guardrails.sentence(rail) for rail in rails if rail.verdict == "fail")


def _finding(test: MarginTest, row: Row) -> str:
    kind = "better" if test.margin == 0 else f"better by more than {test.margin:g}"
    if test.margin < 0:
        kind = f"worse by less than {-test.margin:g}"
    return (
        f"{test.metric}: champion {row.champion:.4f}, challenger {row.challenger:.4f} on {test.users:,} users; "
        f"difference {test.difference:+.4f} ({1 - 2 * test.alpha:.0%} interval {test.low:+.4f} to {test.high:+.4f}). "
        f"That it is {kind} is {'proved' if test.passed else 'not proved'}: one-sided p = {test.p_value:.4g}, "
        f"alpha = {test.alpha:g}."
    )
