"""The model registry: register what the stages made, and say which version serves (alias `champion`).

Side effects, so no DVC stages. Every step before the aliases move can be repeated; anything doubtful refuses.
"""

import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.version import BUNDLE, data_notice, pyfunc_arguments, require_locked, version_metrics, version_tags
from ilm.errors import ArtifactError, ConfigError
from ilm.files import digest
from ilm.params import load_params
from tasks.lineage import origin
from tasks.paths import FEATURES, FINETUNED
from tasks.tracking import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
DIGEST_TAG = "ilm.bundle_digest"


def register(project: Path) -> str:
    """Register the finetuned model and give its version; a bundle that is registered already keeps its version.

    Raises:
        ArtifactError: an artifact is missing, is not the one in dvc.lock, or has metrics that are missing or NaN.
    """
    from ilm.serve.bundle import make_bundle

    params = load_params(project / "params.yaml")
    name, metrics = params.registry.model_name, version_metrics(project)
    require_locked(project)
    with tempfile.TemporaryDirectory(prefix="ilm-bundle-") as folder:
        bundle = Path(folder) / BUNDLE
        make_bundle(bundle, project / FEATURES, project / FINETUNED, metrics, data_notice(params.data.source))
        tags = version_tags(project, bundle)
        store = Store.open(project)
        known = [v for v in _versions(store.client, name) if v.tags.get(DIGEST_TAG) == tags[DIGEST_TAG]]
        if known:
            return str(max(int(version.version) for version in known))
        with store.run("register", origin(project), {}, {}) as run:
            run.log_metrics(metrics)
            version = _log_model(store, run.run_id, name, pyfunc_arguments(project, bundle), tags)
    print(f"register  version {version} of model '{name}'", flush=True)
    return version


def promote_first(project: Path, version: str, bootstrap: bool) -> str | None:
    """What the flow does with a new version: champion if there is none and `bootstrap`, else challenger.

    Returns:
        The version that is champion afterwards; None if there is none.

    Raises:
        ArtifactError: it would be champion, but does not work.
    """
    name, client = _open(project)
    champion = alias(client, name, CHAMPION)
    if champion is None and bootstrap:
        promote(project, version, bootstrap=True)
        return version
    if champion != version:
        client.set_registered_model_alias(name, CHALLENGER, version)
    return champion


def promote(project: Path, version: str, *, bootstrap: bool = False) -> None:
    """Make a version champion, after it has proved that it is whole and works; the old one becomes `previous`.

    Raises:
        ArtifactError: the version is not what was registered, does not recommend, is the first one without
            `bootstrap`, or the registry does not say afterwards what it was told.
        ConfigError: there is no such version.
    """
    name, client = _open(project)
    _verify(client, name, version)
    champion = alias(client, name, CHAMPION)
    if champion is None and not bootstrap:
        raise ArtifactError(
            f"model '{name}' has no champion to compare version {version} with. To make it the first one: "
            f"`ilm promote {version} --bootstrap`, or `ilm train --bootstrap`."
        )
    wanted = {CHAMPION: version}
    if champion is not None and champion != version:
        wanted = {PREVIOUS: champion} | wanted
    for key, value in wanted.items():
        client.set_registered_model_alias(name, key, value)
    if alias(client, name, CHALLENGER) == version:
        client.delete_registered_model_alias(name, CHALLENGER)
    for key, value in wanted.items():
        found = alias(client, name, key)
        if found != value:
            raise ArtifactError(f"model '{name}': alias {key} was set to {value} and reads {found}. Promote again.")
    print(f"promote  version {version} of model '{name}' is champion", flush=True)


def champion_bundle(project: Path) -> Path:
    """Folder of the champion's bundle.

    Raises:
        ArtifactError: there is no champion.
    """
    name, client = _open(project)
    version = alias(client, name, CHAMPION)
    if version is None:
        raise ArtifactError(f"model '{name}' has no champion yet. Run `ilm train --bootstrap`.")
    return _bundle_of(name, version)


def champion_metrics(project: Path) -> tuple[str, dict[str, float]] | None:
    """Version of the champion and the metrics it was registered with; None if there is no champion."""
    name, client = _open(project)
    version = alias(client, name, CHAMPION)
    if version is None:
        return None
    return version, dict(client.get_run(str(client.get_model_version(name, version).run_id)).data.metrics)


def alias(client: "MlflowClient", name: str, key: str) -> str | None:
    """Version behind an alias (always text: sqlite answers int, a server str); None if unset."""
    found = [model for model in client.search_registered_models(f"name = '{name}'") if model.name == name]
    if not found:
        return None
    version = client.get_registered_model(name).aliases.get(key)
    return None if version is None else str(version)


def _open(project: Path) -> "tuple[str, MlflowClient]":
    return load_params(project / "params.yaml").registry.model_name, Store.open(project).client


def _versions(client: "MlflowClient", name: str) -> "list[ModelVersion]":
    return list(client.search_model_versions(f"name = '{name}'"))


def _log_model(store: Store, run_id: str, name: str, arguments: dict[str, Any], tags: dict[str, str]) -> str:
    """Log the pyfunc and make it a version, with its tags from the first moment: no version is half-labelled."""
    import logging

    import mlflow
    from mlflow.exceptions import MlflowException

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.pyfunc.log_model(name="ilm", **arguments)  # a registry name may have dots, this one not
    try:
        store.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = store.client.create_model_version(name, logged.model_uri, run_id, tags=tags, model_id=logged.model_id)
    return str(made.version)


def _verify(client: "MlflowClient", name: str, version: str) -> None:
    """Check the files that the registry holds against their digest, then have the version answer its own example.

    Raises:
        ConfigError: there is no such version.
        ArtifactError: it is damaged or does not work.
    """
    import mlflow

    found = {str(known.version): known for known in _versions(client, name)}
    if version not in found:
        raise ConfigError(f"model '{name}' has no version {version} (there are: {', '.join(sorted(found)) or 'none'}).")
    wanted, held = found[version].tags.get(DIGEST_TAG), digest(_bundle_of(name, version))
    if held != wanted:
        raise ArtifactError(f"model '{name}' version {version}: its files have digest {held}, not {wanted}. Retrain.")
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    try:
        model = mlflow.pyfunc.load_model(f"models:/{name}/{version}")
        answer = model.predict(model.input_example)
    except mlflow.MlflowException as error:
        raise ArtifactError(f"model '{name}' version {version} does not load: {error}. Train again.") from error
    if len(answer) == 0 or not answer["score"].map(math.isfinite).all():
        raise ArtifactError(f"model '{name}' version {version}: recommends nothing, or scores that are no numbers.")


def _bundle_of(name: str, version: str) -> Path:
    """Folder of a version's bundle: where it lies, or a copy if the registry keeps its files elsewhere."""
    import mlflow

    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    folder = mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{name}/{version}")
    return Path(folder) / "artifacts" / BUNDLE
