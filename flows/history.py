"""What was champion on which day, who or what decided, on which evidence: `ilm history`, from the ledger."""

import contextlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from flows.ledger import Entry, Ledger, locked
from flows.promotion import repair
from flows.registry_claim import PromotionUnderWay
from flows.registry_store import Registry
from flows.summary import METRICS


@dataclass(frozen=True)
class Reign:
    """A time during which one version, or none, was champion."""

    version: str | None
    since: str
    """ISO, UTC."""
    until: str | None
    """None: until now."""
    action: str
    """promote, bootstrap, rollback; outside: by other means than `ilm`, noticed at `since`."""
    actor: str
    because: str
    decision: str | None
    """SHA-256 of the gate's decision.json, if it was asked; it lies with the version's MLflow run."""
    metrics: dict[str, float] = field(default_factory=dict)
    """That the version was registered with; none if it is no longer there."""


def history(project: Path) -> list[Reign]:
    """All reigns, oldest first. What a killed command left is repaired first.

    Raises:
        ArtifactError: the ledger is damaged, or is not that of the registry.
    """
    with locked(project):
        registry = Registry.open(project)
        ledger = Ledger(project, registry)
        try:
            entries = repair(ledger)
        except PromotionUnderWay as busy:
            print(f"registry  {busy}", flush=True)
            entries = ledger.entries()
    versions = registry.versions()
    metrics = {number: registry.metrics(versions[number]) for number in _champions(entries) & versions.keys()}
    return reigns(entries, metrics)


def reigns(entries: Iterable[Entry], metrics: dict[str, dict[str, float]]) -> list[Reign]:
    """The reigns that a ledger tells of."""
    found: list[Reign] = []
    began = None
    for entry in entries:
        if entry.kind == "intent":
            began = entry.time  # the alias moves now, not when the outcome is written, perhaps after a crash
            continue
        moved = entry.time if began is None or entry.kind == "found" else began
        began, champion = None, entry.after.champion
        if champion == (found[-1].version if found else None):
            continue
        since = moved.isoformat()
        if found:
            found[-1] = Reign(**asdict(found[-1]) | {"until": since})
        action = "outside" if entry.kind == "found" else entry.action
        grounds = (action, entry.actor, entry.because, entry.decision)
        found.append(Reign(champion, since, None, *grounds, metrics.get(champion or "", {})))
    return found


def print_history(project: Path) -> None:
    """Print two lines for each reign, the present one last."""
    found = history(project)
    if not found:
        print("No version has been champion yet. Run `ilm train --bootstrap`.")
        return
    print(f"{'from (UTC)':<18}{'until':<18}{'champion':<10}{METRICS['ndcg_at_10']:>8}  decided by")
    for reign in found:
        value = reign.metrics.get("sequential.filtered.ndcg_at_10")
        shown = "-" if value is None else f"{value:.4f}"
        since, until = (moment[:16].replace("T", " ") if moment else "now" for moment in (reign.since, reign.until))
        print(f"{since:<18}{until:<18}{reign.version or 'nobody':<10}{shown:>8}  {reign.action}: {reign.actor}")
        print(f"    {reign.because}" + (f" [decision {reign.decision[:12]}]" if reign.decision else ""))


def print_json(project: Path) -> None:
    """Print the reigns as a JSON list."""
    import json
    import sys

    with contextlib.redirect_stdout(sys.stderr):  # notes on what was repaired
        found = history(project)
    print(json.dumps([asdict(reign) for reign in found], ensure_ascii=False, indent=2))


def _champions(entries: Iterable[Entry]) -> set[str]:
    return {entry.after.champion for entry in entries if entry.after.champion is not None}
