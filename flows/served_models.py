"""Which models `ilm serve` holds: follows the registry's champion, and loads its challenger when somebody asks."""

import logging
import math
import tempfile
import threading
import time
from pathlib import Path

from flows.registry_store import CHALLENGER, CHAMPION, Registry
from flows.version import BUNDLE
from ilm.errors import ArtifactError, IlmError
from ilm.serve.api.served import Served, ServedModel
from ilm.serve.item_language_model import ItemLanguageModel

_log = logging.getLogger("ilm.serve")
RETRY_SECONDS = 60.0
"""Before a version that did not load is tried again: a damaged one must not keep the machine busy for ever."""


class ChampionFollower:
    """Looks at the registry again and again; a new champion is loaded and tried beside the old one, then exchanged.

    Whatever goes wrong, the old one stays. `served.problem` says so to everybody, the log why.

    Args:
        project: root folder.
        seconds: between two looks.
    """

    def __init__(self, project: Path, seconds: float) -> None:
        self._project, self._seconds = project, seconds
        self._ended = threading.Event()
        self._challenger: str | None = None
        self._failed: tuple[str, float] = "", 0.0  # the version that did not load last, and when
        self._said = ""
        self.served = Served(self._load_challenger)

    def look(self) -> None:
        """Serve the champion of this moment.

        Raises:
            IlmError: there is none, or it does not load or does not work.
        """
        self._take_over(*self._asked())

    def follow(self) -> None:
        """Look until `end`, in a thread of its own."""
        threading.Thread(target=self._follow, name="registry", daemon=True).start()

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()

    def _follow(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                registry, champion = self._asked()
            except Exception as error:  # a registry that is down must not end the service
                self._keep("the registry names no champion", error)
                continue
            version, when = self._failed
            if champion == version and time.monotonic() - when < RETRY_SECONDS:
                continue
            try:
                self._take_over(registry, champion)
            except Exception as error:
                self._failed = champion, time.monotonic()
                self._keep(f"version {champion} is champion but does not load", error)

    def _asked(self) -> tuple[Registry, str]:
        """The registry, and its champion's version; a challenger that is another one now is forgotten."""
        registry = Registry.open(self._project)
        aliases = registry.aliases()
        if aliases.get(CHALLENGER) != self._challenger:
            self._challenger = aliases.get(CHALLENGER)
            self.served.forget_challenger(self._challenger is not None)
        if CHAMPION not in aliases:
            raise ArtifactError(f"model '{registry.name}' has no champion yet. Run `ilm train --bootstrap`.")
        return registry, aliases[CHAMPION]

    def _take_over(self, registry: Registry, champion: str) -> None:
        present = self.served.champion
        if present is None or present.version != champion:
            self.served.exchange(load(registry, champion))
            _log.info("version %s of model '%s' is served", champion, registry.name)
        self.served.problem, self._said = None, ""

    def _keep(self, problem: str, error: Exception) -> None:
        """Go on with the old one; why is logged once for as long as it is the same."""
        said = f"{problem}: {error if isinstance(error, IlmError) else f'{type(error).__name__}: {error}'}"
        if said != self._said:
            _log.warning("%s", said, exc_info=not isinstance(error, IlmError))
        self._said, self.served.problem = said, f"{problem}; the server's log says why."

    def _load_challenger(self) -> ServedModel:
        registry = Registry.open(self._project)
        return load(registry, str(registry.find(CHALLENGER).version))


def load(registry: Registry, version: str) -> ServedModel:
    """Load a version and try it, from a copy that is gone afterwards: a server that runs for months fills no disk.

    Raises:
        ArtifactError: its files are damaged or gone, or it does not work.
    """
    with tempfile.TemporaryDirectory(prefix="ilm-serve-") as copy:
        return ServedModel(tried(registry.folder(version, f"artifacts/{BUNDLE}", Path(copy))), version)


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
