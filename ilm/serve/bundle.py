"""The folder that a model is handed on in: everything it needs but the language model, which it names by hash.

`config.json` lists every file with its SHA-256, so a folder is whole or it is refused; `README.md`, the model card, is
for people and may be edited.
"""

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ilm.errors import ArtifactError
from ilm.files import digest, read_json, write_json, write_text
from ilm.serve.model_card import model_card

FORMAT = "item-language-model/1"
CONFIG = "config.json"
CARD = "README.md"
MODEL = "model"
FACTORS = "cf.safetensors"
CATALOGUE = "catalogue.parquet"
USERS = "user_ids.parquet"
SEQUENCES = "sequences.parquet"
SPLIT = "split.json"
"""Until when the model has seen the log; only the gate asks, so a folder may be without."""
LANGUAGE_MODEL = "language_model"
"""A copy of the frozen language model, in a folder that is exported; else it is found by its name."""
FEATURES = (FACTORS, CATALOGUE, USERS, SEQUENCES)


def make_bundle(
    out: Path, features: Path, model: Path, evaluation: Mapping[str, Any] | None = None, data: str | None = None
) -> None:
    """Put a finetuned model and the features that it answers with into the new folder `out`.

    Args:
        out: to be made.
        features: the pipeline's folder of features.
        model: the finetuned model's folder.
        evaluation: for the model card, what step `evaluate` found (metrics.json).
        data: for the model card, what the data are and under which terms they may be used.

    Raises:
        ArtifactError: something is missing.
    """
    sources = [features / name for name in FEATURES]
    missing = [str(path) for path in (*sources, model) if not path.exists()]
    if missing:
        raise ArtifactError(f"cannot bundle a model: {', '.join(missing)} not found. Run `ilm train` or `dvc repro`.")
    out.mkdir(parents=True)
    for path in (*sources, features / SPLIT):
        if path.exists():
            shutil.copyfile(path, out / path.name)
    shutil.copytree(model, out / MODEL)
    write_text(out / CARD, model_card(out, evaluation, data))
    seal(out)


def seal(folder: Path) -> None:
    """Write the list of files, when all of them are there."""
    files = {name: digest(folder / name) for name in _files(folder)}
    write_json(folder / CONFIG, {"format": FORMAT, "files": files})


def verify(folder: Path) -> None:
    """Check that the folder holds its files, unchanged, and no others.

    Raises:
        ArtifactError: it does not; all that is wrong is listed.
    """
    if not (folder / CONFIG).is_file():
        raise ArtifactError(f"{folder}: no Item-Language Model is here ({CONFIG} is missing). Check the path.")
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict) or config.get("format") != FORMAT or not isinstance(config.get("files"), dict):
        raise ArtifactError(f"{folder / CONFIG}: not of format {FORMAT}. Save the model again with this version.")
    wanted, found = config["files"], set(_files(folder))
    wrong = [f"{name} is missing" for name in sorted(wanted.keys() - found)]
    wrong += [f"{name} does not belong there" for name in sorted(found - wanted.keys())]
    wrong += [f"{name} was changed" for name in sorted(wanted.keys() & found) if digest(folder / name) != wanted[name]]
    if not (folder / CARD).is_file():
        wrong.append(f"{CARD} is missing")
    if wrong:
        raise ArtifactError(f"{folder}: {'; '.join(wrong)}. Restore the folder, or save the model again.")


def fitted_until(folder: Path) -> datetime:
    """The moment (UTC) of the latest interaction that the folder's model has learned from.

    Raises:
        ArtifactError: the folder does not say.
    """
    split = read_json(folder / SPLIT) if (folder / SPLIT).is_file() else {}
    try:
        until = datetime.fromisoformat(split["fitted_until"])
    except (KeyError, TypeError, ValueError):
        until = None
    if until is None or until.tzinfo is None:
        raise ArtifactError(
            f"{folder / SPLIT}: does not say until when the model has seen the log, so nothing can be called fresh to "
            "it. The log needs timestamps; train and register the model again with this version."
        )
    return until.astimezone(UTC)


def _files(folder: Path) -> list[str]:
    """All files but the list itself and the card, relative to the folder."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name not in (CONFIG, CARD) and "__pycache__" not in name)
