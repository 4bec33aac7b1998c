"""What a registered version carries: its metrics, tags that say where it comes from, and the MLflow model itself."""

import math
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

import ilm.serve
from ilm.errors import ArtifactError
from ilm.eval.metrics import METRICS as METRIC_NAMES
from ilm.files import digest, read_json
from tasks import paths
from tasks.lineage import dvc_md5, origin

SUBJECT = "ilm"
"""The system in metrics.json that a version is."""
REQUIRED = tuple(f"sequential.{seen}.{name}" for seen in ("filtered", "unfiltered") for name in METRIC_NAMES)
PACKAGES = ("item-language-model", "mlflow", "numpy", "pandas", "pyarrow", "safetensors", "torch", "transformers")
BUNDLE, LINEAGE = "bundle", "lineage"
"""Folders in the model's artifacts."""
PIPELINE = ("params.yaml", "dvc.yaml", "dvc.lock")
"""Files in LINEAGE, beside the folder INPUTS."""
INPUTS = "inputs"
"""One .dvc file for each file or folder that the pipeline reads and does not make (flows/registry_inputs.py)."""
DIGEST = "ilm.bundle_digest"
"""Tag by which a version's files are known."""


def version_metrics(project: Path) -> dict[str, float]:
    """The ILM's metrics of metrics.json, under flat names (sequential.filtered.hr_at_10).

    Raises:
        ArtifactError: the file or a metric is missing, or is not a number from 0 to 1.
    """
    path = project / paths.METRICS
    try:
        metrics = flattened(read_json(path)["systems"][SUBJECT])
    except (KeyError, TypeError):
        raise ArtifactError(f"{path}: no systems.{SUBJECT}; nothing is registered. Run `dvc repro evaluate`.") from None
    wrong = [f"{name} is missing" for name in REQUIRED if name not in metrics]
    wrong += [f"{name} is {value}" for name, value in metrics.items() if not _is_share(value)]
    if wrong:
        raise ArtifactError(
            f"{path}: systems.{SUBJECT}: {', '.join(wrong)}; each must be a number from 0 to 1. "
            "Run `dvc repro --force evaluate`, or look at the training curves in MLflow."
        )
    return metrics


def require_locked(project: Path) -> None:
    """Check that what would be registered is what dvc.lock says the pipeline made.

    Raises:
        ArtifactError: it is not.
    """
    made = _locked_md5(project)
    for path in (paths.FINETUNED, paths.CF_FACTORS, paths.CATALOGUE, paths.USER_IDS, paths.SEQUENCES, paths.METRICS):
        if made.get(str(path)) != dvc_md5(project / path):
            raise ArtifactError(f"{path}: not the one in dvc.lock, so its origin is unknown. Run `dvc repro`.")


def version_tags(project: Path, bundle: Path) -> dict[str, str]:
    """Tags of a version: its bundle's digest, and git commit, settings, data, CF space and language model behind it."""
    made = _locked_md5(project)
    card = read_json(bundle / "model" / "config.json")
    return {
        DIGEST: digest(bundle),
        "ilm.space_id": card["space_id"],
        "ilm.llm": card["language_model"],
        "ilm.llm_sha256": card["language_model_sha256"],
        "params.sha256": digest(project / "params.yaml"),
        "data.interactions.md5": made[str(paths.INTERACTIONS)],
        "data.items.md5": made[str(paths.ITEMS)],
        **{f"data.{name}": str(value) for name, value in read_json(project / paths.METRICS).get("data", {}).items()},
    } | origin(project)


def data_notice(source: str) -> str | None:
    """What the built-in data are and under which terms they may be used; None for the user's own."""
    from ilm.data.movielens import NOTICE

    return NOTICE if source == "movielens-small" else None


def pyfunc_arguments(project: Path, bundle: Path, inputs: Path) -> dict[str, Any]:
    """Arguments of `mlflow.pyfunc.log_model`: code, bundle, lineage, requirements, signature, example.

    `bundle` lies in a temporary folder, where the lineage folder is made beside it: PIPELINE, and the folder `inputs`.
    """
    import pandas as pd
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    lineage = bundle.parent / LINEAGE
    lineage.mkdir()
    for name in PIPELINE:
        shutil.copyfile(project / name, lineage / name)
    shutil.copytree(inputs, lineage / INPUTS)
    catalogue = pq.read_table(bundle / paths.CATALOGUE.name, columns=["item_id", "active"])
    known = catalogue.filter(pc.field("active"))["item_id"].slice(0, 2).to_pylist()
    text, number = DataType.string, DataType.long
    # Cells may be empty; MLflow takes no frame with an empty cell in a column of lists or whole numbers.
    anything: Any = AnyType  # its constructor has no types
    columns = {"user_id": text} | {name: anything() for name in ("history", "k", "exclude", "where")}
    outputs = {"row": number, "rank": number, "item_id": text, "title": text, "score": DataType.double}
    return {
        "python_model": str(Path(ilm.serve.__path__[0]) / "pyfunc.py"),
        "artifacts": {BUNDLE: str(bundle), LINEAGE: str(lineage)},
        "pip_requirements": [f"{name}=={metadata.version(name).split('+')[0]}" for name in PACKAGES],
        "signature": ModelSignature(
            inputs=Schema([ColSpec(kind, name, required=False) for name, kind in columns.items()]),
            outputs=Schema([ColSpec(kind, name) for name, kind in outputs.items()]),
        ),
        "input_example": pd.DataFrame({"history": [known], "k": [5]}),
    }


def _locked_md5(project: Path) -> dict[str, str]:
    """Output path -> md5, of all stages in dvc.lock."""
    lock = project / "dvc.lock"
    if not lock.is_file():
        raise ArtifactError(f"{lock}: not found, so nothing says how the model was made. Run `dvc repro`.")
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}


def flattened(tree: Any, prefix: str = "") -> dict[str, Any]:
    """A tree of mappings as one, under dotted names."""
    if not isinstance(tree, dict):
        return {prefix[:-1]: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flattened(value, f"{prefix}{key}.")
    return flat


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1
