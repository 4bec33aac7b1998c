"""The generation that a retrain goes on from, laid out in its worktree (tasks/previous.py says in which form).

Ids come from the last run that came to its end, promoted or not: an index is given once. Vectors, models and settings
are the champion's, for what was refused shall not live on. What another code has made is not gone on from, as DVC would
have it, too. All of it comes from DVC's cache; what is gone from there is made anew.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from flows.registry_store import Registry
from flows.retrain_inputs import Generation, locked_outs
from flows.version import LINEAGE
from flows.worktree import LOCK, Worktree
from ilm.errors import ArtifactError
from tasks.lineage import CODE, dvc_md5
from tasks.paths import ANCHOR, CF_FACTORS, DRIFT, FINETUNED, ITEM_IDS, PRETRAINED, PREVIOUS, USER_IDS
from tasks.previous import SETTINGS

MAPS, SPACE, MODELS = (USER_IDS, ITEM_IDS), (CF_FACTORS, ANCHOR, DRIFT), (PRETRAINED, FINETUNED)


def bring_previous(tree: Worktree, latest: Generation) -> None:
    """Fill the worktree's `data/previous`; what cannot be gone on from is left out, and that is said.

    Args:
        tree: a fresh worktree, with the project's own `data/previous` in it.
        latest: what the last run made that came to its end.

    Raises:
        ArtifactError: the registry cannot be reached.
        OSError: the disk is full.
    """
    folder, lineage = tree.project / PREVIOUS, _champions_lineage(tree)
    if lineage is None:
        _fetch(latest, MAPS, folder)
        return
    champion = Generation(locked_outs(lineage / LOCK), latest.cache)
    if not _fetch(champion, MAPS, folder):
        _fetch(latest, MAPS, folder)
        _say("the champion's id maps are not in DVC's cache: vectors and models are made anew")
        return
    theirs = {path.name: _ids(folder / path.name) for path in MAPS}
    if not _fetch(latest, MAPS, folder) or any(
        _ids(folder / name)[: len(ids)] != ids for name, ids in theirs.items()
    ):  # the working copy may have begun a line of its own
        _fetch(champion, MAPS, folder)
    made = _stages(lineage / LOCK)
    if _code_differs(tree, made, ["cf"]):
        _say("the code of step cf has changed: vectors and models are made anew")
    elif not _fetch(champion, SPACE, folder):
        _say("the champion's vectors are not in DVC's cache: they and the models are made anew")
    elif _code_differs(tree, made, ["pretrain", "finetune"]):
        _say("the code of the trainings has changed: the vectors go on, the models are made anew")
    elif not _fetch(champion, MODELS, folder):
        _say("the champion's models are not in DVC's cache: they are made anew")
    else:
        shutil.copyfile(lineage / SETTINGS, folder / SETTINGS)


def _champions_lineage(tree: Worktree) -> Path | None:
    """Folder with the champion's dvc.lock and params.yaml; None if there is no champion, or its files are gone."""
    registry = Registry.open(tree.home)
    champion = registry.serving().champion
    if champion is None:
        return None
    try:
        return registry.folder(champion, f"artifacts/{LINEAGE}")
    except ArtifactError as error:
        _say(f"the champion cannot be gone on from: {error}")
        return None


def _fetch(generation: Generation, paths: Sequence[Path], folder: Path) -> bool:
    """Copy all of these into the folder, or none."""
    done = [generation.fetch(path, folder / path.name) for path in paths]
    if not all(done):
        for path in paths:
            shutil.rmtree(folder / path.name, ignore_errors=True)
            (folder / path.name).unlink(missing_ok=True)
    return all(done)


def _ids(path: Path) -> list[Any]:
    import pyarrow.parquet as pq

    return list(pq.read_table(path).column(1).to_pylist())


def _stages(lock: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"])


def _code_differs(tree: Worktree, made: dict[str, Any], names: Sequence[str]) -> bool:
    """Whether the stages were run by other code than the worktree's."""
    deps = [dep for name in names for dep in made.get(name, {}).get("deps", []) if dep["path"].startswith(CODE)]
    missing = any(name not in made for name in names)
    return missing or any(
        not (tree.project / dep["path"]).exists() or dvc_md5(tree.project / dep["path"]) != dep["md5"] for dep in deps
    )


def _say(text: str) -> None:
    print(f"retrain  {text}", flush=True)
