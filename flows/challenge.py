"""A new version against the champion: the gate decides, on this run's data, and nothing else promotes."""

from collections.abc import Callable
from pathlib import Path

from flows import promotion
from flows.registry import bundle_of
from flows.registry_evidence import GATE, RECORD
from flows.registry_store import Registry, reached
from flows.worktree import Worktree
from ilm.params import load_params
from tasks.paths import INTERACTIONS, ITEMS


def challenge(
    tree: Worktree, version: str, commit: str, out: Path, renew: Callable[[], None]
) -> tuple[str, tuple[str, ...], str | None]:
    """Name the version challenger, have the gate judge it, and promote it if that is what the gate says.

    Args:
        tree: where the run's data lie.
        version: what was registered.
        commit: of the run; the code that decides.
        out: folder for the gate's record, which the version's MLflow run gets, too.
        renew: called before a write that only the holder of the lease may make.

    Returns:
        The decision's outcome and reasons, and the version that is champion afterwards.

    Raises:
        LeaseLost: by `renew`.
        ArtifactError: files of either version are gone, it should be promoted but does not work, or there is another
            champion by then.
    """
    from ilm.gate.judge import judge

    actor = f"ilm retrain {tree.run}"
    registry, champion = Registry.open(tree.home), promotion.promote_first(tree.home, version, False, actor)
    decision = judge(
        bundle_of(registry, version),
        bundle_of(registry, champion) if champion else None,
        interactions=tree.project / INTERACTIONS,
        items=tree.project / ITEMS,
        params=load_params(tree.project / "params.yaml"),
        code=commit,
        out=out,
    )
    renew()
    with reached():
        registry.client.log_artifacts(str(registry.find(version).run_id), str(out), GATE)
    if decision.promotes:
        promotion.promote(tree.home, version, expected_champion=champion, actor=actor, evidence=out / RECORD)
        champion = version
    return decision.outcome, decision.reasons, champion
