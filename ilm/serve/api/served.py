"""The models that are served, by name. They may be exchanged at any moment: a request keeps the one it began with."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from anyio import CapacityLimiter, to_thread

from ilm.errors import IlmError
from ilm.serve.item_language_model import ItemLanguageModel

CHAMPION, CHALLENGER = "champion", "challenger"
RETRY_SECONDS = 30.0


class NotServed(IlmError):
    """There is no model of that name now."""


class NotReady(IlmError):
    """No model is loaded yet."""


@dataclass(frozen=True)
class ServedModel:
    """A model, which version it is, and since when it is served (UTC)."""

    model: ItemLanguageModel
    version: str
    since: datetime = field(default_factory=lambda: datetime.now(UTC))


class Served:
    """The champion, and the challenger once somebody asks for it.

    Args:
        load_challenger: loads the challenger as it is now; raises `IlmError` if there is none. May take seconds.
    """

    def __init__(self, load_challenger: Callable[[], ServedModel] | None = None) -> None:
        self._champion: ServedModel | None = None
        self._challenger: ServedModel | None = None
        self._load_challenger = load_challenger
        self._failed_at: float | None = None
        self._challenged = False
        self._loading, self._one_loads = threading.Lock(), CapacityLimiter(1)
        self.problem: str | None = None
        """What keeps a newer champion from being served, if anything does."""

    def exchange(self, champion: ServedModel) -> None:
        """Serve this champion from now on."""
        self._champion, self.problem = champion, None

    def forget_challenger(self, there_is_another: bool) -> None:
        """Load the challenger anew when it is asked for next. Waits for a loading that is under way."""
        with self._loading:
            self._challenger, self._failed_at, self._challenged = None, None, there_is_another

    def names(self) -> list[str]:
        """Of the models that there are now."""
        return [CHAMPION] * (self._champion is not None) + [CHALLENGER] * self._challenged

    @property
    def champion(self) -> ServedModel | None:
        """Who is served now."""
        return self._champion

    async def find(self, name: str) -> ServedModel:
        """As `get`, without holding up an event loop; who waits for the challenger to be loaded occupies no thread."""
        if name != CHALLENGER:
            return self.get(name)
        return await to_thread.run_sync(self.get, name, limiter=self._one_loads)

    def get(self, name: str) -> ServedModel:
        """The model of that name; loads the challenger if need be, so call it outside of an event loop.

        Raises:
            NotReady: no model is loaded yet.
            NotServed: there is none.
        """
        if name == CHAMPION:
            if self._champion is None:
                raise NotReady("no model is loaded yet. Try again in some seconds; /ready tells.")
            return self._champion
        if name != CHALLENGER or self._load_challenger is None:
            raise NotServed(f"no model '{name}' is served. There is: {CHAMPION}, {CHALLENGER}.")
        with self._loading:
            return self._challenging(self._load_challenger)

    def _challenging(self, load: Callable[[], ServedModel]) -> ServedModel:
        if self._challenger is None:
            if self._failed_at is not None and time.monotonic() - self._failed_at < RETRY_SECONDS:
                raise NotServed("there is no challenger now.")
            try:
                self._challenger = load()
            except IlmError as error:
                self._failed_at = time.monotonic()
                raise NotServed(f"there is no challenger now. {error}") from None
        return self._challenger
