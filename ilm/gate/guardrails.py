"""What a challenger must not break, however much its metric rises: absolute floors, coverage, rare items, validity."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ilm.gate.scores import Scores
from ilm.params import GateParams

Verdict = Literal["pass", "fail", "not judged"]


@dataclass(frozen=True)
class Guardrail:
    """One rule, and how the challenger stands to it."""

    name: str
    verdict: Verdict
    champion: float | None
    """Its value; None where the rule is absolute or there is no champion."""
    challenger: float | None
    """Its value; None where there is nothing to judge by."""
    rule: str
    """What is asked, in words with numbers."""


def absolute(challenger: Scores, settings: GateParams) -> list[Guardrail]:
    """The rules that need no champion: floors, and no invalid items."""
    found = []
    for metric, floor in sorted(settings.floors.items()):
        mean = float(challenger.metrics[metric].mean())
        found.append(Guardrail(f"floor of {metric}", _verdict(mean >= floor), None, mean, f"at least {floor:g}"))
    invalid = challenger.invalid_items
    found.append(Guardrail("invalid items", _verdict(invalid == 0), None, float(invalid), "none may be recommended"))
    return found


def against(champion: Scores, challenger: Scores, settings: GateParams) -> list[Guardrail]:
    """The rules that compare: coverage, and the metric on rare targets.

    A slice of fewer than `min_cold_users` is not judged, and the record says so: its mean is noise.
    """
    least = settings.min_coverage_ratio * champion.coverage
    asked = f"at least {settings.min_coverage_ratio:g} of the champion's"
    covered = Guardrail(
        "coverage of first 10", _verdict(challenger.coverage >= least), champion.coverage, challenger.coverage, asked
    )
    having = challenger.rare_targets > 0
    name, users = f"{settings.metric} on rare items", int(having.sum())
    if users < settings.min_cold_users:
        few = f"{users} users have a rare target, fewer than {settings.min_cold_users}"
        return [covered, Guardrail(name, "not judged", None, None, few)]
    before, after = (float(of.rare_metrics[settings.metric][having].mean()) for of in (champion, challenger))
    drop = f"at most {settings.max_cold_drop:g} below the champion's, {users} users"
    kept = bool(after - before >= -settings.max_cold_drop)
    return [covered, Guardrail(name, _verdict(kept), before, after, drop)]


def sentence(guardrail: Guardrail) -> str:
    """Why a guardrail failed."""
    beside = "" if guardrail.champion is None else f" (champion: {guardrail.champion:.4f})"
    value = np.nan if guardrail.challenger is None else guardrail.challenger
    return f"Guardrail {guardrail.name}: {value:.4g}{beside}; {guardrail.rule}."


def _verdict(kept: bool) -> Verdict:
    return "pass" if kept else "fail"
