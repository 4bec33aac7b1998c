"""A trained model as a folder that needs nothing of this project: weights, language model, catalogue, card, and the
code that reads them. torch, transformers, safetensors, numpy and pyarrow are all it takes.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import ilm
from ilm.cf import factors as cf_factors
from ilm.errors import ArtifactError
from ilm.files import read_json, replaced, write_text
from ilm.model.builtin import resolve
from ilm.serve import bundle
from ilm.serve.model_card import HAS_HISTORIES

CODE = "ilm"
REQUIREMENTS = ("torch", "transformers", "safetensors", "numpy", "pyarrow")
LANGUAGE_MODEL_FILES = (".json", ".jinja", ".safetensors", ".txt", ".model")
"""Suffixes of what belongs to a language model: no pickles, no notes."""
_END = re.compile(r"\n## (?:Use|How it was made|Use of this folder)\n")
"""Where the sections begin that are written anew."""
NO_CODE = ("__pycache__", "pyfunc.py", "api", "page")
"""What only servers need."""
_MANIFEST = "manifest.json"
_USE = """
## Use of this folder

After `pip install -r requirements.txt`, in this folder:

```python
from ilm import ItemLanguageModel

model = ItemLanguageModel.from_pretrained(".")
print(model.rank(history={examples}, k=5))
```

{without}The code in `ilm/` is under the Apache License 2.0; the language model `{language_model}` is under its own
licence, the data under theirs (above).
"""


def export(source: Path, out: Path, users: bool, language_model: bool, origin: Mapping[str, str]) -> None:
    """Write a self-contained copy of a model's folder.

    Args:
        source: a folder that `ItemLanguageModel.from_pretrained` reads.
        out: new folder.
        users: with the users' histories and vectors, which are personal data; without, only a history that is named
            can be asked for.
        language_model: with the frozen language model; without, it must be installed where the folder goes.
        origin: for the card, how the model was made.

    Raises:
        ArtifactError: `out` holds something already; the source is damaged; the language model is not installed here.
    """
    bundle.verify(source)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArtifactError(f"{out}: is there already. Name a new folder, or remove this one.")
    card = read_json(source / bundle.MODEL / "config.json")
    with replaced(out) as folder:
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
        if not users:
            _forget_users(folder)
        if language_model and not (folder / bundle.LANGUAGE_MODEL).is_dir():
            _copy_language_model(resolve(card["language_model"]), folder / bundle.LANGUAGE_MODEL)
        if not (folder / CODE).is_dir():
            code = Path(ilm.__path__[0])
            shutil.copytree(code, folder / CODE, ignore=shutil.ignore_patterns(*NO_CODE))
        write_text(folder / "requirements.txt", "".join(f"{name}=={_version(name)}\n" for name in REQUIREMENTS))
        write_text(folder / bundle.CARD, _card(folder, card["language_model"], users, language_model, origin))
        bundle.seal(folder)


def _forget_users(folder: Path) -> None:
    for name in (bundle.USERS, bundle.SEQUENCES):
        pq.write_table(pq.read_table(folder / name).slice(0, 0), folder / name)
    factors = cf_factors.load(folder / bundle.FACTORS)
    nobody = np.zeros_like(factors.user_factors[:1])
    (folder / bundle.FACTORS).unlink()
    cf_factors.save(folder / bundle.FACTORS, replace(factors, user_factors=nobody))


def _copy_language_model(source: Path, target: Path) -> None:
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.suffix in LANGUAGE_MODEL_FILES and path.name != _MANIFEST:
            shutil.copyfile(path, target / path.name)


def _version(name: str) -> str:
    return metadata.version(name).split("+")[0]  # 2.13.0+cpu is no version that an index has


def _card(folder: Path, name: str, users: bool, language_model: bool, origin: Mapping[str, str]) -> str:
    text = (folder / bundle.CARD).read_text(encoding="utf-8").rstrip() + "\n"
    text = _END.split(text)[0].rstrip() + "\n"
    titles = pq.read_table(folder / bundle.CATALOGUE, filters=[("active", "=", True)], columns=["title"])["title"]
    without = "" if language_model else f"The language model is not in the folder: install `{name}` first. "
    if not users:
        text = text.replace(HAS_HISTORIES, "The folder holds no histories of users.")
    if origin:
        rows = "\n".join(f"| {key} | `{value}` |" for key, value in sorted(origin.items()))
        text += f"\n## How it was made\n\n| | |\n|---|---|\n{rows}\n"
    return text + _USE.format(examples=titles.slice(0, 2).to_pylist(), without=without, language_model=name)
