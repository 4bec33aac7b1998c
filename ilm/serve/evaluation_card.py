"""What a model card says of quality: metrics with intervals, for whom they hold, and what is known not to work."""

from collections.abc import Mapping
from typing import Any

_TASKS = {"sequential": "with the history shown", "straightforward": "from the user's vector alone"}
_METRICS = {"hr_at_10": "HR@10", "ndcg_at_10": "NDCG@10"}
_SLICES = {
    "user_activity": {"cold": "less active users", "warm": "active users"},
    "target_popularity": {"head": "popular items", "tail": "other items"},
    "history_length": {"short": "short histories", "long": "long histories"},
}
LIMITS = """\
- The words of its answers are the catalogue's; it does not write, and what the catalogue does not say is not known.
- Wishes for listed values and years are heard; moods and plots are not.
- What is stated in so many words is understood in English only.
- It learns from what was chosen: it repeats the tastes, and the gaps, of the users of its log.
- Items and users that came after its data are not known to it."""


def evaluation_sections(evaluation: Mapping[str, Any]) -> str:
    """The sections Metrics, Slices and Known limits, from what step `evaluate` found (metrics.json)."""
    data = evaluation.get("data", {})
    users = data.get("asked", data.get("cases"))
    asked = f"Next item of {users:,} users, split `{data['split']}`, " if users else ""
    head = f"{asked}full catalogue, items seen before left out; 95 % intervals over users."
    slices = _slices(evaluation)
    parts = ["## Metrics", head, _metrics(evaluation), *_differences(evaluation)]
    parts += ["## Slices", "HR@10 with the history shown:", slices, *_breadth(evaluation)] if slices else []
    return "\n\n".join([*parts, "## Known limits", LIMITS])


def _metrics(evaluation: Mapping[str, Any]) -> str:
    lines = [f"| | system | {' | '.join(_METRICS.values())} |", "|---|---|---|---|"]
    intervals = evaluation.get("significance", {}).get("intervals", {})
    for task, words in _TASKS.items():
        for system, found in sorted(evaluation["systems"].items(), key=lambda entry: (entry[0] != "ilm", entry[0])):
            if task not in found:
                continue
            values = found[task]["filtered"]
            spread = intervals.get(system, {}).get(task, {}).get("filtered", {})
            cells = [_cell(values[name], spread.get(name)) for name in _METRICS]
            lines.append(f"| {words} | {system} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: float, interval: Mapping[str, float] | None) -> str:
    return f"{value:.4f}" + (f" ({interval['low']:.4f} to {interval['high']:.4f})" if interval else "")


def _differences(evaluation: Mapping[str, Any]) -> list[str]:
    """How far it is from each other system, user by user."""
    lines = []
    for pair, tasks in sorted(evaluation.get("significance", {}).get("paired", {}).items()):
        test = tasks["sequential"]["filtered"]["hr_at_10"]
        spread = f"{test['low']:+.4f} to {test['high']:+.4f}"
        lines.append(f"- {pair.split('_minus_')[1]}: {test['difference']:+.4f} ({spread}), p {test['p_holm']:.4f}")
    told = "HR@10 with the history shown, minus that of another system, paired by user (p after Holm's correction):"
    return [told, "\n".join(lines)] if lines else []


def _breadth(evaluation: Mapping[str, Any]) -> list[str]:
    """How much of the catalogue it recommends, and how popular that is."""
    lines = [
        f"- {system}: {found['coverage_at_10']:.1%} of the catalogue, {found['mean_popularity_at_10']:.0f} interactions"
        for system, found in sorted(evaluation["slices"].get("recommendations", {}).get("sequential", {}).items())
    ]
    told = "What the lists of ten hold between them, and how often their items were chosen in training:"
    return [told, "\n".join(lines)] if lines else []


def _slices(evaluation: Mapping[str, Any]) -> str:
    lines = []
    for name, groups in _SLICES.items():
        found = evaluation.get("slices", {}).get(name, {}).get("sequential", {})
        for group, words in groups.items():
            if "ilm" in found.get(group, {}).get("systems", {}):
                hit_rate = found[group]["systems"]["ilm"]["hr_at_10"]
                lines.append(f"| {words} | {found[group]['users']:,} | {hit_rate:.4f} |")
    return "\n".join(["| | users | ilm |", "|---|---|---|", *lines]) if lines else ""
