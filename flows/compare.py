"""`ilm compare A B`: what two registered versions have been made of, and how well each did when it was evaluated."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from flows import registry_evidence
from flows.registry_evidence import Evidence
from flows.registry_store import Registry
from flows.version import LINEAGE, flattened

DATA = ("data.interactions.md5", "data.interactions", "data.users", "data.items", "data.items.md5", "data.split")
CODE = ("git.commit", "git.dirty", "ilm.space_id", "ilm.llm", "ilm.llm_sha256")
"""Tags of a version."""
UNKNOWN = "-"

Rows = dict[str, tuple[str, str]]
"""Name -> what A and B have."""


@dataclass(frozen=True)
class Comparison:
    """Two versions side by side; settings, data and code only where they differ."""

    a: str
    b: str
    settings: Rows
    data: Rows
    code: Rows
    metrics: dict[str, tuple[float | None, float | None]]
    """Each version's at its own training, on its own holdout: no proof. None: it has no such metric."""
    decision: Evidence | None
    """Of a gate that has compared them, in either role."""


def compare(project: Path, a: str, b: str) -> Comparison:
    """Compare two versions, named by number or alias.

    Raises:
        ConfigError: there is no such version.
        ArtifactError: the registry's files of one are gone.
    """
    registry = Registry.open(project)
    first, second = registry.find(a), registry.find(b)
    a, b = str(first.version), str(second.version)
    settings = _settings(registry, a), _settings(registry, b)
    metrics = registry.metrics(first), registry.metrics(second)
    return Comparison(
        a,
        b,
        settings=_differing(*settings, sorted({*settings[0], *settings[1]})),
        data=_differing(first.tags, second.tags, DATA),
        code=_differing(first.tags, second.tags, CODE),
        metrics={name: (metrics[0].get(name), metrics[1].get(name)) for name in sorted({*metrics[0], *metrics[1]})},
        decision=registry_evidence.about(registry, b, a) or registry_evidence.about(registry, a, b),
    )


def print_comparison(project: Path, a: str, b: str) -> None:
    """Print the comparison as tables."""
    from rich.console import Console
    from rich.table import Table

    found = compare(project, a, b)
    console = Console(highlight=False, markup=False)
    for what, rows in (("settings", found.settings), ("data", found.data), ("code and model", found.code)):
        if not rows:
            print(f"{what}  the same")
            continue
        table = Table(what, f"version {found.a}", f"version {found.b}")
        for name, values in rows.items():
            table.add_row(name, *values)
        console.print(table)
    table = Table("metric, each at its own training", f"version {found.a}", f"version {found.b}", "difference")
    for name, (first, second) in found.metrics.items():
        difference = UNKNOWN if first is None or second is None else f"{second - first:+.4f}"
        table.add_row(name, *(UNKNOWN if value is None else f"{value:.4f}" for value in (first, second)), difference)
    console.print(table)
    if found.decision is None:
        print("gate  no gate has compared them on the same data")
    else:
        for line in (f"{found.decision.outcome}  decision {found.decision.sha256[:12]}", *found.decision.reasons):
            print(f"gate  {line}")


def _settings(registry: Registry, version: str) -> dict[str, str]:
    file = registry.folder(version, f"artifacts/{LINEAGE}/params.yaml")
    return {name: str(value) for name, value in flattened(yaml.safe_load(file.read_text(encoding="utf-8"))).items()}


def _differing(a: dict[str, str], b: dict[str, str], names: Sequence[str]) -> Rows:
    pairs = {name: (a.get(name, UNKNOWN), b.get(name, UNKNOWN)) for name in names}
    return {name: values for name, values in pairs.items() if values[0] != values[1]}
