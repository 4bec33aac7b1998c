"""What the pipeline reads and does not make (source folder, log files), kept in the DVC cache with a registered model.

DVC caches outputs only; log files come and go. So that `ilm checkout` can bring back everything, each input gets what
`dvc add` would have made: its content in the cache, and a small .dvc file, which goes into the version's lineage. The
working copy is not touched. Content that is in the cache already takes no room again.
"""

import contextlib
from pathlib import Path

import yaml

from ilm.files import write_text
from tasks.lineage import CODE


def keep_inputs(project: Path, folder: Path) -> Path:
    """Put the inputs' content into the project's DVC cache, and their .dvc files into a new folder, which is given.

    An input that is no longer as the steps have read it, or lies outside the project, is not kept; that is said.
    """
    folder.mkdir()
    for name, md5 in inputs_of(project).items():
        path = Path(name)
        if path.is_absolute() or ".." in path.parts:
            print(f"register  {path} lies outside the project: it is not kept for `ilm checkout`", flush=True)
        elif (found := _cache(project, path, md5)) != md5:
            print(f"register  {path} is not as the steps read it: it is not kept for `ilm checkout`", flush=True)
        else:
            out = {"md5": found, "hash": "md5", "path": path.name}
            write_text(folder / path.parent / f"{path.name}.dvc", yaml.safe_dump({"outs": [out]}))
    return folder


def inputs_of(project: Path) -> dict[str, str]:
    """Path -> md5 of the data that no stage makes, as dvc.lock has them."""
    stages = yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8"))["stages"].values()
    made = {out["path"] for stage in stages for out in stage.get("outs", [])}
    read = {dep["path"]: dep["md5"] for stage in stages for dep in stage.get("deps", [])}
    return {path: md5 for path, md5 in sorted(read.items()) if path not in made and not path.startswith(CODE)}


def _cache(project: Path, path: Path, md5: str) -> str | None:
    """Put a file or folder into the cache if it has that md5; gives the one it has, None if it is gone."""
    from dvc.fs import LocalFileSystem
    from dvc.repo import Repo
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.transfer import transfer

    with contextlib.closing(Repo(str(project))) as repo:
        cache = repo.cache.local
        try:
            staging, _, content = build(
                cache, str(project.resolve() / path), LocalFileSystem(), "md5", ignore=repo.dvcignore
            )
        except FileNotFoundError:
            return None
        found = str(content.hash_info.value)
        if found == md5:
            transfer(staging, cache, {content.hash_info}, shallow=False)
        return found
