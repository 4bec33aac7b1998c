"""The model registry as flows use it: one registered model of MLflow, its versions, aliases, tags and files.

Every call either gives an answer or raises an `IlmError`. MLflow's writes are unconditional: no alias or tag can be set
"only if it still is what I read". What protects promotions from one another is in flows/registry_claim.py.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ilm.errors import ArtifactError, ConfigError
from ilm.params import load_params
from tasks.tracking import Store, said_by

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
ABSENT, EXISTS = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"
"""Error codes of MLflow."""


@dataclass(frozen=True)
class Serving:
    """Who serves, and who a rollback would bring back."""

    champion: str | None
    previous: str | None


@dataclass(frozen=True)
class Registry:
    """One registered model; it need not exist yet."""

    client: "MlflowClient"
    name: str

    @classmethod
    def open(cls, project: Path) -> "Registry":
        """Open the registry that MLFLOW_TRACKING_URI names, by default the project's own.

        Raises:
            ArtifactError: it cannot be opened.
            ConfigError: params.yaml is missing or wrong.
        """
        name = load_params(project / "params.yaml").registry.model_name
        return cls(Store.open(project).client, name)

    def aliases(self) -> dict[str, str]:
        """Alias -> version, always text: sqlite answers int, a server str."""
        model = self._model()
        return {} if model is None else {key: str(version) for key, version in model.aliases.items()}

    def serving(self) -> Serving:
        """What the aliases say."""
        aliases = self.aliases()
        return Serving(aliases.get(CHAMPION), aliases.get(PREVIOUS))

    def set_alias(self, key: str, version: str | None) -> None:
        """Point an alias at a version, or remove it; without effect if it is so already."""
        if self.aliases().get(key) == version:
            return
        with reached():
            if version is None:
                self.client.delete_registered_model_alias(self.name, key)
            else:
                self.client.set_registered_model_alias(self.name, key, version)

    def tags(self) -> dict[str, str]:
        """Tags of the registered model."""
        model = self._model()
        return {} if model is None else dict(model.tags)

    def set_tag(self, key: str, value: str) -> None:
        """Set a tag of the registered model."""
        with reached():
            self.client.set_registered_model_tag(self.name, key, value)

    def versions(self) -> "dict[str, ModelVersion]":
        """All versions, by number as text."""
        with reached():
            found = self.client.search_model_versions(f"name = '{self.name}'")
        return {str(version.version): version for version in found}

    def find(self, version: str) -> "ModelVersion":
        """One version, by its number or by an alias (champion, previous, challenger).

        Raises:
            ConfigError: there is none.
        """
        versions = self.versions()
        number = self.aliases().get(version, version)
        if number not in versions:
            known = ", ".join(sorted(versions, key=int)) or "none"
            raise ConfigError(f"model '{self.name}' has no version {version} (there are: {known}). See `ilm history`.")
        return versions[number]

    def metrics(self, version: "ModelVersion") -> dict[str, float]:
        """The metrics that a version was registered with."""
        with reached():
            return dict(self.client.get_run(str(version.run_id)).data.metrics)

    def folder(self, version: str, part: str = "", copy: Path | None = None) -> Path:
        """A version's files, or a part of them: where they lie, or a copy if the registry keeps them elsewhere.

        Args:
            version: its number.
            part: a folder or file among them; "" is all.
            copy: an empty folder for a copy, wherever the files lie; who names it also cleans it up.

        Raises:
            ArtifactError: they are gone.
        """
        import mlflow

        mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
        try:
            address = f"models:/{self.name}/{version}" + (f"/{part}" if part else "")
            return Path(mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=str(copy) if copy else None))
        except (mlflow.MlflowException, OSError) as error:
            raise ArtifactError(
                f"model '{self.name}' version {version}: its files cannot be had ({said_by(error)}). "
                "Bring them back from a backup, or choose another version: `ilm history`."
            ) from error

    def _model(self) -> "RegisteredModel | None":
        from mlflow.exceptions import MlflowException

        with reached():
            try:
                return self.client.get_registered_model(self.name)
            except MlflowException as error:
                if error.error_code != ABSENT:
                    raise
                return None


@contextmanager
def reached() -> Iterator[None]:
    """Turn a registry that fails into a message.

    Raises:
        ArtifactError: it failed.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        said = said_by(error)[:300]
        raise ArtifactError(
            f"the model registry failed: {said}. Mend it, then run the command again: it finishes or undoes what was "
            "begun."
        ) from error
