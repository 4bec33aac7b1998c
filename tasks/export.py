"""Features and settings as one folder, to train on a machine without the pipeline (`python -m ilm.train`)."""

import shutil
from pathlib import Path

from ilm.errors import ArtifactError
from ilm.files import replaced, write_json
from ilm.params import Params, load_params
from tasks import paths


def export_features(project: Path, folder: Path) -> list[str]:
    """Copy the project's features into `folder`, replacing it whole, with its settings; returns the files' names.

    Raises:
        ConfigError: params.yaml is missing or wrong.
        ArtifactError: features are missing, or `folder` holds something else.
    """
    from ilm.train.settings import FILE

    params = load_params(project / "params.yaml")
    features = sorted(
        file for file in (project / paths.FEATURES).glob("*") if file.suffix in (".parquet", ".safetensors")
    )
    needed = {
        paths.CF_FACTORS,
        paths.CATALOGUE,
        paths.ITEM_TEXT_PAIRS,
        paths.ITEM_ITEM_PAIRS,
        paths.USER_ITEM_PAIRS,
        paths.EXAMPLES,
    }
    missing = sorted(path.name for path in needed if not (project / path).is_file())
    if missing:
        raise ArtifactError(f"{project / paths.FEATURES}: no {', '.join(missing)}. Run `dvc repro pairs` first.")
    if folder.exists() and not (folder / FILE).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArtifactError(f"{folder}: holds something else than an export. Name an empty or a new folder.")
    with replaced(folder) as temporary:
        temporary.mkdir()
        for file in features:
            shutil.copyfile(file, temporary / file.name)
        write_settings(params, temporary)
    return sorted(file.name for file in folder.iterdir())


def write_settings(params: Params, folder: Path) -> None:
    """Write settings.json, as `python -m ilm.train` reads it, into the folder."""
    from ilm.train.settings import FILE, limits_of

    settings = params.model_dump(by_alias=True)
    write_json(folder / FILE, {"settings": settings, "limits": limits_of(Params.model_json_schema())})
