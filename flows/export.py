"""`ilm export`: a registered model, or the one in a folder, as a folder that needs nothing of this project."""

from pathlib import Path

ORIGIN = ("git.commit", "dvc.lock.sha256", "params.sha256", "data.interactions.md5", "data.items.md5")
"""Tags of a version that its card tells."""


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
    from flows.registry import named_bundle
    from flows.registry_store import Registry
    from ilm.serve.export import export

    folder, origin = named_bundle(project, name), {}
    if folder != Path(name):
        version = Registry.open(project).find(name)
        origin = {tag: version.tags[tag] for tag in ORIGIN if tag in version.tags} | {"version": str(version.version)}
    export(folder, out, users, language_model, origin)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"export  {out}  {size / 2**20:,.0f} MiB; README.md there says how to use it, and what may be done with it")
