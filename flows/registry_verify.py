"""Before a version may serve: its files are what was registered, it loads, and it answers its own example."""

import math

from flows.registry_store import Registry
from flows.version import BUNDLE, DIGEST
from ilm.errors import ArtifactError
from ilm.files import digest


def verify(registry: Registry, version: str) -> None:
    """Check a version's files against their digest, then have it recommend.

    Raises:
        ConfigError: there is no such version.
        ArtifactError: it is damaged or does not work.
    """
    import mlflow

    wanted, model_name = registry.find(version).tags.get(DIGEST), f"model '{registry.name}' version {version}"
    folder = registry.folder(version)
    held = digest(folder / "artifacts" / BUNDLE)
    if held != wanted:
        raise ArtifactError(f"{model_name}: its files have digest {held}, not {wanted}. Retrain, or take another one.")
    try:
        model = mlflow.pyfunc.load_model(str(folder))
        answer = model.predict(model.input_example)
    except mlflow.MlflowException as error:
        raise ArtifactError(f"{model_name} does not load: {error}. Train again, or take another one.") from error
    if len(answer) == 0 or not answer["score"].map(math.isfinite).all():
        raise ArtifactError(f"{model_name}: recommends nothing, or scores that are no numbers. Take another one.")
