"""Which models `ilm serve` holds: follows the registry's champion, and loads its challenger when somebody asks."""

import logging
import math
import threading
from pathlib import Path

from flows.registry import bundle_of
from flows.registry_store import CHALLENGER, Registry
from ilm.errors import ArtifactError, IlmError
from ilm.serve.api.served import Served, ServedModel
from ilm.serve.item_language_model import ItemLanguageModel

_log = logging.getLogger("ilm.serve")


class ChampionFollower:
    """Looks at the registry again and again; a new champion is loaded and tried beside the old one, then exchanged.

    Whatever goes wrong, the old one stays, and `served.problem` and the log say why.

    Args:
        project: root folder.
        seconds: between two looks.
    """

    def __init__(self, project: Path, seconds: float) -> None:
        self._project, self._seconds = project, seconds
        self._ended = threading.Event()
        self._challenger: str | None = None
        self.served = Served(self._load_challenger)

    def look(self) -> None:
        """Serve the champion of this moment.

        Raises:
            IlmError: there is none, or it does not load or does not work.
        """
        registry = Registry.open(self._project)
        aliases = registry.aliases()
        champion, present = aliases.get("champion"), self.served.champion
        if champion is None:
            raise ArtifactError(f"model '{registry.name}' has no champion yet. Run `ilm train --bootstrap`.")
        if present is None or present.version != champion:
            self.served.exchange(load(registry, champion))
            _log.info("version %s of model '%s' is served", champion, registry.name)
        self.served.problem = None
        if aliases.get(CHALLENGER) != self._challenger:
            self._challenger = aliases.get(CHALLENGER)
            self.served.forget_challenger()

    def follow(self) -> None:
        """Look until `end`, in a thread of its own."""
        threading.Thread(target=self._follow, name="registry", daemon=True).start()

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()

    def _follow(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self.look()
            except Exception as error:  # a registry that is down must not end the service
                said = str(error) if isinstance(error, IlmError) else f"{type(error).__name__}: {error}"
                if said != self.served.problem:
                    _log.warning(
                        "the registry's champion is not served: %s", said, exc_info=not isinstance(error, IlmError)
                    )
                self.served.problem = said

    def _load_challenger(self) -> ServedModel:
        registry = Registry.open(self._project)
        return load(registry, str(registry.find(CHALLENGER).version))


def load(registry: Registry, version: str) -> ServedModel:
    """Load a version and try it.

    Raises:
        ArtifactError: its files are damaged or gone, or it does not work.
    """
    return ServedModel(tried(bundle_of(registry, version)), version)


def tried(folder: Path) -> ItemLanguageModel:
    """The model of a folder, which must recommend something to somebody of whom nothing is known.

    Raises:
        ArtifactError: it does not load, or does not.
    """
    model = ItemLanguageModel.from_pretrained(folder)
    reply = model.chat([{"role": "user", "content": "Hello"}], k=1)
    if not reply.items or not math.isfinite(reply.items[0].score):
        raise ArtifactError(f"{folder}: recommends nothing, or scores that are no numbers. Take another version.")
    return model
