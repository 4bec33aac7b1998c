"""`ilm export`: a registered model, or the one in a folder, as a folder that needs nothing of this project."""

import tempfile
from pathlib import Path
from typing import Any

TAGS = ("git.commit", "git.dirty", "dvc.lock.sha256", "params.sha256", "data.interactions.md5", "data.items.md5")
"""Of a version, which its card tells."""
SETTINGS = ("split", "cf", "pairs", "model", "pretrain", "finetune", "evaluate")
"""Sections of params.yaml that made the model. Those of places and of people are not handed on."""


def export_model(project: Path, name: str, out: Path, users: bool, language_model: bool) -> None:
    """Export a model; see `ilm.serve.export.export`.

    Args:
        project: root folder.
        name: of the model: an alias, a version or a folder.
        out: new folder.
        users: with the users' histories.
        language_model: with the frozen language model.

    Raises:
        IlmError: there is no such model, it is damaged, or `out` holds something already.
    """
    from flows.registry_store import CHAMPION
    from ilm.serve.bundle import CONFIG
    from ilm.serve.export import export

    if name != CHAMPION and (Path(name) / CONFIG).is_file():
        export(Path(name), out, users=users, language_model=language_model)
    else:
        _export_version(project, name, out, users=users, language_model=language_model)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"export  {out}  {size / 2**20:,.0f} MiB; README.md there says how to use it, and what may be done with it")


def _export_version(project: Path, name: str, out: Path, **what: bool) -> None:
    from flows.registry_store import Registry
    from flows.version import BUNDLE
    from ilm.serve.export import export

    registry = Registry.open(project)
    version = registry.find(name)
    with tempfile.TemporaryDirectory(prefix="ilm-export-") as copy:
        artifacts = registry.folder(str(version.version), "artifacts", Path(copy))
        tags = {tag: version.tags[tag] for tag in TAGS if tag in version.tags}
        origin = {"tags": tags | {"version": str(version.version)}, "settings": _settings(artifacts)}
        export(artifacts / BUNDLE, out, origin=origin, **what)


def _settings(artifacts: Path) -> dict[str, Any]:
    import yaml

    from flows.version import LINEAGE

    settings = yaml.safe_load((artifacts / LINEAGE / "params.yaml").read_text(encoding="utf-8")) or {}
    return {section: settings[section] for section in SETTINGS if section in settings}
