"""Who serves: promote, roll back, and mend what an earlier command left unfinished.

Order of a change: verify the version -> lock and claim -> look again -> intent into the ledger -> alias `previous` ->
alias `champion` -> read back -> outcome into the ledger. A crash after any of these writes is repaired by the next
command from the intent and the aliases alone: if `champion` has moved, the change is finished, else it is undone.
docs/registry.md says what is guaranteed and what MLflow cannot guarantee.
"""

from pathlib import Path
from typing import cast

from flows import registry_claim, registry_evidence
from flows.ledger import MAX_REASON, Action, Entry, Kind, Ledger, locked, person
from flows.registry_store import CHALLENGER, CHAMPION, PREVIOUS, Registry, Serving
from flows.registry_verify import verify
from ilm.errors import ArtifactError, ConfigError


class ChampionMoved(ArtifactError):
    """It is another than the one that was compared with."""


def promote(
    project: Path,
    version: str,
    *,
    expected_champion: str | None,
    bootstrap: bool = False,
    actor: str | None = None,
    because: str = "",
    evidence: Path | None = None,
) -> None:
    """Make a version champion, after it has proved that it is whole and works; the old one becomes `previous`.

    Args:
        project: root folder.
        version: number of the version.
        expected_champion: who was champion when this was decided; None if nobody.
        bootstrap: allow it to be the first champion.
        actor: who or what decides; by default the person who runs the command.
        because: a person's reason; needed where no gate's decision speaks for the version.
        evidence: decision.json of the gate. By default the one that is filed with the version.

    Raises:
        ConfigError: there is no such version, or nothing speaks for it.
        ArtifactError: it is not what was registered or does not work, the evidence is not for it, or the registry does
            not say afterwards what it was told.
        ChampionMoved: somebody else was promoted meanwhile.
        PromotionUnderWay: somebody on another machine is at it.
    """
    because = " ".join(because.split())
    if len(because) > MAX_REASON:
        raise ConfigError(f"the reason has {len(because):,} characters; at most {MAX_REASON:,}. Say it in fewer.")
    with locked(project):
        ledger = Ledger(project, Registry.open(project))
        registry, _ = ledger.registry, repair(ledger)
        version, now = str(registry.find(version).version), registry.serving()
        if now.champion != expected_champion:
            raise ChampionMoved(
                f"champion is now {now.champion or 'nobody'}, was {expected_champion or 'nobody'} when compared. "
                f"Version {version} is not promoted; compare it with the champion of now."
            )
        if now.champion == version:
            print(f"promote  version {version} of model '{registry.name}' is champion already", flush=True)
            return
        if now.champion is None and not bootstrap:
            raise ArtifactError(
                f"model '{registry.name}' has no champion to compare version {version} with. To make it the first one: "
                f"`ilm promote {version} --bootstrap`, or `ilm train --bootstrap`."
            )
        decision = None
        if now.champion is not None:
            decision, because = registry_evidence.grounds(registry, version, now.champion, because, evidence)
        verify(registry, version)
        previous = now.champion or now.previous
        after = Serving(version, None if previous == version else previous)
        action: Action = "promote" if now.champion else "bootstrap"
        said = because or "The first champion, by explicit bootstrap."
        _change(ledger, action, now, after, actor=actor or person(), because=said, decision=decision)
    print(f"promote  version {version} of model '{registry.name}' is champion", flush=True)


def rollback(project: Path, *, to: str | None = None, actor: str | None = None, because: str = "") -> str:
    """Bring back `previous`, or another version that was champion before. Needs neither training nor the champion.

    Returns:
        The version that is champion now.

    Raises:
        ConfigError: `to` was never champion, or is.
        ArtifactError: there is nothing to go back to, or its files are damaged.
        PromotionUnderWay: somebody on another machine promotes.
    """
    with locked(project):
        ledger = Ledger(project, Registry.open(project))
        registry, entries = ledger.registry, repair(ledger)
        now = registry.serving()
        if to is None and now.previous is None:
            raise ArtifactError(f"model '{registry.name}' has no `previous` to go back to. See `ilm history`.")
        version = str(registry.find(to or PREVIOUS).version)
        served = {entry.after.champion for entry in entries if entry.kind != "intent"} - {now.champion, None}
        if version == now.champion or (to is not None and version not in served):
            known = ", ".join(sorted(map(str, served), key=int)) or "none"
            raise ConfigError(f"version {version} is champion, or never was (there are: {known}). See `ilm history`.")
        verify(registry, version)
        said = " ".join(because.split())[:MAX_REASON] or "Rollback."
        after = Serving(version, now.champion)
        _change(ledger, "rollback", now, after, actor=actor or person(), because=said, decision=None)
    print(f"rollback  version {version} of model '{registry.name}' is champion again", flush=True)
    return version


def promote_first(project: Path, version: str, bootstrap: bool, actor: str | None = None) -> str | None:
    """What a flow does with a new version: champion if there is none and `bootstrap`, else challenger.

    Returns:
        The version that is champion afterwards; None if there is none.

    Raises:
        ArtifactError: it would be champion, but does not work.
    """
    with locked(project):
        registry = Registry.open(project)
        repair(Ledger(project, registry))
        champion = registry.serving().champion
        if champion != version and not (champion is None and bootstrap):
            registry.set_alias(CHALLENGER, version)
            return champion
    promote(project, version, expected_champion=champion, bootstrap=bootstrap, actor=actor)
    return version


def repair(ledger: Ledger) -> list[Entry]:
    """Finish or undo what a killed command began, and note what was changed by other means. Under the lock.

    Returns:
        The ledger's entries; the last one is as the registry says.

    Raises:
        PromotionUnderWay: it is not finished because somebody on another machine is at it.
        ArtifactError: the ledger is damaged, or the registry does not take what it is told.
    """
    registry, entries = ledger.registry, ledger.entries()
    if entries and entries[-1].kind == "intent":
        intent, number = entries[-1], len(entries) - 1
        claim = registry_claim.acquire(registry, number)
        if len(ledger.entries()) == len(entries):
            _settle(ledger, intent)
        claim.release()
        entries = ledger.entries()
    registry_claim.sweep(registry, len(entries))
    known, now = entries[-1].after if entries else Serving(None, None), registry.serving()
    if known != now:
        claim = registry_claim.acquire(registry, len(entries))
        if len(ledger.entries()) == len(entries):
            said = f"Found {_named(now)}; the ledger had {_named(known)}. Changed by other means than `ilm`."
            ledger.append("found", "outside", known, now, actor="unknown", because=said, decision=None)
            print(f"registry  {said}", flush=True)
        claim.release()
        entries = ledger.entries()
    return entries


def _change(
    ledger: Ledger,
    action: Action,
    before: Serving,
    after: Serving,
    *,
    actor: str,
    because: str,
    decision: str | None,
) -> None:
    """Move the aliases, with the ledger around it."""
    registry, number = ledger.registry, len(ledger.entries())
    claim = registry_claim.acquire(registry, number)
    if len(ledger.entries()) != number or registry.serving() != before:
        claim.release()
        raise ChampionMoved(
            f"champion is now {registry.serving().champion or 'nobody'}, was {before.champion or 'nobody'} when "
            "compared: somebody was faster. Nothing is changed; see `ilm history`."
        )
    ledger.append("intent", action, before, after, actor=actor, because=because, decision=decision)
    claim.require()
    _point(registry, after)
    found = registry.serving()
    if found != after:
        raise ArtifactError(
            f"model '{registry.name}' should have {_named(after)} and reads {_named(found)}. Run `ilm history`: it "
            "mends what can be mended."
        )
    ledger.append("done", action, before, after, actor=actor, because=because, decision=decision)
    claim.release()


def _settle(ledger: Ledger, intent: Entry) -> None:
    """End an intent that was left: by what the alias `champion` says, forwards or backwards."""
    registry = ledger.registry
    champion, versions = registry.serving().champion, registry.versions()
    kind: Kind = "found"  # it is a third one: somebody has moved it by other means, and it stays
    for possible, wanted in (("done", intent.after), ("undone", intent.before)):
        if champion == wanted.champion:
            kind = cast("Kind", possible)
            previous = wanted.previous if wanted.previous in versions else None  # it may have been deleted since
            _point(registry, Serving(wanted.champion, previous))
    ledger.append(
        kind, intent.action, intent.before, registry.serving(),
        actor=intent.actor, because=intent.because, decision=intent.decision,
    )  # fmt: skip
    what = {"done": "finished", "undone": "undone", "found": "left as it was found"}[kind]
    print(f"registry  a {intent.action} of version {intent.after.champion} was cut short; it is {what}", flush=True)


def _point(registry: Registry, serving: Serving) -> None:
    """`previous` first: from the moment that the champion is another, there is a way back."""
    registry.set_alias(PREVIOUS, serving.previous)
    registry.set_alias(CHAMPION, serving.champion)
    if registry.aliases().get(CHALLENGER) == serving.champion:
        registry.set_alias(CHALLENGER, None)


def _named(serving: Serving) -> str:
    return f"champion {serving.champion or 'nobody'} and previous {serving.previous or 'nobody'}"
