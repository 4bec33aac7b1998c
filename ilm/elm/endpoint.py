"""A teacher behind an endpoint that speaks OpenAI's chat completions: OpenAI itself, vLLM, llama.cpp, Ollama, ….

The client (package `openai`) tries again on 429, 5xx and lost connections, waiting longer each time or as long as the
server says. The key is read from the environment, and appears in no file, card or message.
"""

import importlib.util
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ilm.elm.answers import whole_sentences
from ilm.errors import ConfigError

TRIES_AGAIN = 6
"""Times that a request is sent again, with waits of half a second to eight seconds, or as the server says."""
AT_ONCE = 4
"""Requests that wait for an answer at the same time."""
TIMEOUT = 120.0
"""Seconds until an answer is given up and asked for again."""


class Pace:
    """Lets requests through at even distances, so that there are never more than so many a minute."""

    def __init__(
        self,
        per_minute: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._distance, self._clock, self._sleep = 60.0 / per_minute, clock, sleep
        self._next, self._lock = 0.0, threading.Lock()

    def wait(self) -> None:
        """Return when the next request may go."""
        with self._lock:
            now = self._clock()
            mine = max(now, self._next)
            self._next = mine + self._distance
        if mine > now:
            self._sleep(mine - now)


class EndpointTeacher:
    """A model behind an endpoint.

    Args:
        model: its name there.
        base_url: such as `https://api.openai.com/v1`.
        key_variable: environment variable with the key.
        requests_per_minute: tries again included.
        options: sent with each request, such as `temperature` and `max_tokens`.

    Raises:
        ConfigError: the client is not installed, or the variable is not set.
    """

    def __init__(
        self, model: str, base_url: str, key_variable: str, requests_per_minute: int, options: Mapping[str, Any]
    ) -> None:
        if importlib.util.find_spec("openai") is None:
            raise ConfigError("elm.teacher endpoint needs the package openai: `pip install -e '.[teacher]'`.")
        self._key = os.environ.get(key_variable, "")
        if not self._key:
            raise ConfigError(
                f"environment variable {key_variable} (elm.endpoint_key) is not set. Put the endpoint's key there; any "
                "word will do for a server that asks for none."
            )
        import openai

        self._model, self._url, self._options = model, base_url, dict(options)
        pace = Pace(requests_per_minute)
        http = openai.DefaultHttpxClient(event_hooks={"request": [lambda request: pace.wait()]})
        self._client = openai.OpenAI(
            api_key=self._key, base_url=base_url, max_retries=TRIES_AGAIN, timeout=TIMEOUT, http_client=http
        )

    @property
    def identity(self) -> dict[str, str | int]:
        """Model, address and options."""
        options = {name: str(value) for name, value in sorted(self._options.items())}
        return {"teacher": "endpoint", "model": self._model, "endpoint": self._url, **options}

    def answer(self, questions: Sequence[str]) -> list[str]:
        """As `Teacher`.

        Raises:
            ConfigError: the endpoint refuses, or cannot be reached after all tries.
        """
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self._ask, questions))

    def _ask(self, question: str) -> str:
        import openai

        try:
            # As the body's own keys, so that options may be any that the server knows.
            found = self._client.chat.completions.create(
                model=self._model, messages=[{"role": "user", "content": question}], extra_body=self._options
            )
        except openai.OpenAIError as error:
            reason = " ".join(str(error).replace(self._key, "***").split())
            raise ConfigError(
                f"{self._url}, model {self._model}: {type(error).__name__}: {reason} Correct elm.endpoint, "
                "elm.teacher_model or the key, or wait; the same command goes on with what is still to be asked."
            ) from None
        choice = found.choices[0]
        text = (choice.message.content or "").strip()
        return whole_sentences(text) if choice.finish_reason == "length" else text
