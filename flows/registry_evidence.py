"""The gate's record as evidence: it must be about these two models, be the one that is filed, and say `promote`.

The record lies with the challenger's MLflow run, as `gate/decision.json`; the ledger has its digest.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from flows.ledger import MAX_REASON
from flows.registry_store import Registry, reached
from flows.version import DIGEST
from ilm.errors import ArtifactError, ConfigError
from ilm.files import digest, read_json

GATE = "gate"
"""Folder of the record, among the artifacts of a version's run."""
RECORD = "decision.json"


@dataclass(frozen=True)
class Evidence:
    """What a gate's record says."""

    path: Path
    sha256: str
    """Of the file."""
    outcome: str
    reasons: tuple[str, ...]
    challenger: str | None
    """Digest of the bundle; so is the champion's."""
    champion: str | None

    def is_about(self, registry: Registry, version: str, champion: str | None) -> bool:
        """Whether these very models were compared, in these roles."""
        wanted = [registry.find(number).tags.get(DIGEST) if number else None for number in (version, champion)]
        return [self.challenger, self.champion] == wanted


def grounds(
    registry: Registry, version: str, champion: str, because: str, record: Path | None
) -> tuple[str | None, str]:
    """What is written down for a promotion: the digest of the gate's decision, if one was made, and the reason.

    Args:
        registry: of both.
        version: to be promoted.
        champion: to be replaced.
        because: a person's reason, or empty.
        record: the gate's, if a flow asks on its word alone; else what is filed with the version counts.

    Raises:
        ArtifactError: `record` does not say that the version shall replace the champion.
        ConfigError: nothing speaks for the version, neither a gate nor a person.
    """
    if record is None:
        found = about(registry, version, champion)
    else:
        found = read(record)
        if not found.is_about(registry, version, champion):
            raise ArtifactError(f"{record}: compares other models than version {version} with champion {champion}.")
    if found is not None and found.outcome == "promote":
        _keep(registry, version, found)
        return found.sha256, because or found.reasons[0][:MAX_REASON]
    verdict = "no gate has compared them" if found is None else f"the gate said {found.outcome}: {found.reasons[0]}"
    if record:
        raise ArtifactError(f"{record}: {verdict} Version {version} is not promoted.")
    if not because:
        raise ConfigError(
            f"nothing says that version {version} is better than champion {champion}: {verdict}. To promote it by "
            f"your own judgement, say why: `ilm promote {version} --because TEXT`."
        )
    return None if found is None else found.sha256, f"By hand, {because} ({verdict})"[:MAX_REASON]


def read(record: Path) -> Evidence:
    """Read decision.json.

    Raises:
        ArtifactError: it is missing or damaged.
    """
    said = read_json(record)
    try:
        digests = [said[model] and str(said[model]["digest"]) for model in ("challenger", "champion")]
        return Evidence(record, digest(record), str(said["outcome"]), tuple(map(str, said["reasons"])), *digests)
    except (KeyError, TypeError) as error:
        raise ArtifactError(
            f"{record}: not a gate's decision (no {error}). Run the gate again: `ilm retrain`."
        ) from None


def about(registry: Registry, version: str, champion: str | None) -> Evidence | None:
    """What a gate has said of a version against a champion; None if it was not asked. The last word counts."""
    import mlflow

    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    run = str(registry.find(version).run_id)
    with reached():
        files = registry.client.list_artifacts(run, GATE)
        folders = [GATE, *(file.path for file in files if file.is_dir)]  # the last one, and those that promoted it
        for folder in folders:
            if folder != GATE or any(file.path == f"{GATE}/{RECORD}" for file in files):
                local = mlflow.artifacts.download_artifacts(run_id=run, artifact_path=f"{folder}/{RECORD}")
                found = read(Path(local))
                if found.is_about(registry, version, champion):
                    return found
    return None


def _keep(registry: Registry, version: str, evidence: Evidence) -> None:
    """File the record under its digest, where no later decision on the same version takes its place."""
    run = str(registry.find(version).run_id)
    with reached():
        registry.client.log_artifact(run, str(evidence.path), f"{GATE}/{evidence.sha256[:12]}")
