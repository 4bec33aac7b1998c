"""A trained model as a folder that needs nothing of this project: weights, language model, catalogue, card, and the
code that reads them. torch, transformers, safetensors, numpy and pyarrow are all it takes.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import ilm
from ilm.cf import factors as cf_factors
from ilm.errors import ArtifactError
from ilm.files import read_json, replaced, write_json, write_text
from ilm.model.builtin import BUILTIN, resolve
from ilm.serve import bundle
from ilm.serve.export_card import export_card
from ilm.serve.item_language_model import ItemLanguageModel

CODE = "ilm"
CODE_FOLDERS = ("", "cf", "model", "prompts", "rank", "serve")
"""Folders of this package that a model's answers come from; files that need more than REQUIREMENTS are not loaded."""
REQUIREMENTS = ("torch", "transformers", "safetensors", "numpy", "pyarrow")
ORIGIN = "origin.json"
"""How the model was made: tags of its version, settings. A folder may be without."""
LICENCE = "LICENSE"
LANGUAGE_MODEL_FILES = ("*.json", "*.jinja", "*.safetensors", "*.txt", "*.model", f"{LICENCE}*", "NOTICE*")
"""What belongs to a language model: no pickles, no code."""


def export(
    source: Path, out: Path, *, users: bool = True, language_model: bool = True, origin: Mapping[str, Any] | None = None
) -> None:
    """Write a self-contained copy of a model's folder; it is there when it has been loaded and has answered.

    Args:
        source: a folder that `ItemLanguageModel.from_pretrained` reads.
        out: new folder.
        users: with the users' histories and vectors, which are personal data; without, only a history that is named
            can be asked for.
        language_model: with the frozen language model; without, it must be installed where the folder goes.
        origin: how the model was made; None: as the source says.

    Raises:
        ArtifactError: `out` holds something already; the source is damaged; the language model is not installed here
            or is not the one of the training.
    """
    bundle.verify(source)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArtifactError(f"{out}: is there already. Name a new folder, or remove this one.")
    name = str(read_json(source / bundle.MODEL / "config.json")["language_model"])
    with replaced(out) as folder:
        shutil.copytree(source / bundle.MODEL, folder / bundle.MODEL, copy_function=shutil.copyfile)
        for file in (*bundle.FEATURES, bundle.SPLIT, bundle.CARD, ORIGIN):
            if (source / file).is_file():
                shutil.copyfile(source / file, folder / file)
        if not users:
            _forget_users(folder)
        if language_model:
            _copy_language_model(source, name, folder / bundle.LANGUAGE_MODEL)
        _copy_code(folder / CODE)
        if origin is not None:
            write_json(folder / ORIGIN, origin)
        made = read_json(folder / ORIGIN) if (folder / ORIGIN).is_file() else {}
        write_text(folder / "requirements.txt", "".join(f"{one}=={_version(one)}\n" for one in REQUIREMENTS))
        write_text(folder / bundle.CARD, export_card(folder, name, users, language_model, made))
        for path in folder.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)  # safetensors writes for its owner alone
        bundle.seal(folder)
        _require_answer(folder, None if language_model else _language_model(source, name))


def _forget_users(folder: Path) -> None:
    for name in (bundle.USERS, bundle.SEQUENCES):
        pq.write_table(pq.read_table(folder / name).slice(0, 0), folder / name)
    factors = cf_factors.load(folder / bundle.FACTORS)
    nobody = np.zeros_like(factors.user_factors[:1])  # a file of vectors has at least one row
    cf_factors.save(folder / bundle.FACTORS, replace(factors, user_factors=nobody))


def _language_model(source: Path, name: str) -> Path:
    """The source's own, or the one that is installed under this name."""
    own = source / bundle.LANGUAGE_MODEL
    return own if own.is_dir() else resolve(name)


def _copy_language_model(source: Path, name: str, target: Path) -> None:
    target.mkdir()
    found = _language_model(source, name)
    for path in sorted(path for pattern in LANGUAGE_MODEL_FILES for path in found.glob(pattern)):
        if path.name != "manifest.json":  # of the cache that it may come from
            shutil.copyfile(path, target / path.name)
    if name in BUILTIN:  # both built-in models are under the licence of this project
        write_text(target / LICENCE, _licence())


def _copy_code(target: Path) -> None:
    for part in CODE_FOLDERS:
        (target / part).mkdir()
        for file in sorted((Path(ilm.__path__[0]) / part).glob("*.py")):
            shutil.copyfile(file, target / part / file.name)
    write_text(target / LICENCE, _licence())


def _licence() -> str:
    """Of the project: beside the package in a checkout, within it in an exported folder."""
    package = Path(ilm.__path__[0])
    for path in (package / LICENCE, package.parent / LICENCE):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise ArtifactError(f"{package.parent / LICENCE}: not found. Restore it: `git checkout {LICENCE}`.")


def _version(name: str) -> str:
    return metadata.version(name).split("+")[0]  # 2.13.0+cpu is no version that an index has


def _require_answer(folder: Path, language_model: Path | None) -> None:
    """What is handed on loads and answers."""
    catalogue = pq.read_table(folder / bundle.CATALOGUE, columns=["item_id", "active"])
    item = catalogue.filter(catalogue["active"])["item_id"][0].as_py()
    model = ItemLanguageModel.from_pretrained(folder, language_model)
    (best,) = model.rank(history=[item], k=1, exclude_seen=False)
    if not np.isfinite(best.score):
        raise ArtifactError(f"{folder.name}: the model's scores are no numbers. Export another version: `ilm history`.")
