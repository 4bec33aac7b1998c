"""The model registry: register what the stages made, and find what was registered. Who serves: flows/promotion.py.

A side effect, so no DVC stage. It can be repeated; anything doubtful refuses.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from flows.registry_inputs import keep_inputs
from flows.registry_store import CHAMPION, EXISTS, Registry, reached
from flows.version import BUNDLE, DIGEST, data_notice, pyfunc_arguments, require_locked, version_metrics, version_tags
from ilm.errors import ArtifactError
from ilm.files import read_json
from ilm.params import load_params
from tasks.lineage import origin
from tasks.paths import FEATURES, FINETUNED, METRICS
from tasks.tracking import Store


def register(project: Path) -> str:
    """Register the finetuned model and give its version; a bundle that is registered already keeps its version.

    Raises:
        ArtifactError: an artifact is missing, is not the one in dvc.lock, or has metrics that are missing or NaN.
    """
    from ilm.serve.bundle import make_bundle

    params = load_params(project / "params.yaml")
    metrics = version_metrics(project)
    require_locked(project)
    with tempfile.TemporaryDirectory(prefix="ilm-bundle-") as folder:
        bundle = Path(folder) / BUNDLE
        evaluation = read_json(project / METRICS)
        make_bundle(bundle, project / FEATURES, project / FINETUNED, evaluation, data_notice(params.data.source))
        tags = version_tags(project, bundle)
        store, registry = Store.open(project), Registry.open(project)
        known = [number for number, v in registry.versions().items() if v.tags.get(DIGEST) == tags[DIGEST]]
        if known:
            return max(known, key=int)
        inputs = keep_inputs(project, Path(folder) / "inputs")
        with store.run("register", origin(project), {}, {}) as run:
            run.log_metrics(metrics)
            version = _log_model(registry, run.run_id, pyfunc_arguments(project, bundle, inputs), tags)
    print(f"register  version {version} of model '{registry.name}'", flush=True)
    return version


def champion_bundle(project: Path) -> Path:
    """Folder of the champion's bundle.

    Raises:
        ArtifactError: there is no champion, or its files are gone.
    """
    registry = Registry.open(project)
    version = registry.serving().champion
    if version is None:
        raise ArtifactError(f"model '{registry.name}' has no champion yet. Run `ilm train --bootstrap`.")
    return bundle_of(registry, version)


def named_bundle(project: Path, name: str) -> Path:
    """Folder of a model: of a registered one by alias or number, or the folder itself if the name is one.

    Raises:
        ArtifactError: there is no champion, or the files are gone.
        ConfigError: there is no such version.
    """
    from ilm.serve.bundle import CONFIG

    if name == CHAMPION:
        return champion_bundle(project)
    if (Path(name) / CONFIG).is_file():
        return Path(name)
    registry = Registry.open(project)
    return bundle_of(registry, str(registry.find(name).version))


def bundle_of(registry: Registry, version: str) -> Path:
    """Folder of a version's bundle: where it lies, or a copy if the registry keeps its files elsewhere.

    Raises:
        ArtifactError: its files are gone.
    """
    return registry.folder(version) / "artifacts" / BUNDLE


def champion_metrics(project: Path) -> tuple[str, dict[str, float]] | None:
    """Version of the champion and the metrics it was registered with; None if there is no champion."""
    registry = Registry.open(project)
    version = registry.serving().champion
    return None if version is None else (version, registry.metrics(registry.find(CHAMPION)))


def _log_model(registry: Registry, run_id: str, arguments: dict[str, Any], tags: dict[str, str]) -> str:
    """Log the pyfunc and make it a version, with its tags from the first moment: no version is half-labelled."""
    import logging

    import mlflow
    from mlflow.exceptions import MlflowException

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    client, name = registry.client, registry.name
    with reached():
        with mlflow.start_run(run_id=run_id):
            logged = mlflow.pyfunc.log_model(name="ilm", **arguments)  # a registry name may have dots, this one not
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != EXISTS:
                raise
        made = client.create_model_version(name, logged.model_uri, run_id, tags=tags, model_id=logged.model_id)
    return str(made.version)
