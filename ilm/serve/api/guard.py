"""What is checked before a request is read: who asks, under which host name, and how much is sent."""

import base64
import binascii
import hmac
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ilm.serve.api.problems import problem

OPEN = ("/health", "/ready")
"""Answered without a key, for load balancers; they tell nothing of users or items."""

Refusal = tuple[int, str, str, dict[str, str]]
"""Arguments of `problem`."""


class Guard:
    """Refuses requests without the key, for a host that is not served, or with too large a body.

    Args:
        app: what is guarded.
        key: asked for as `Authorization: Bearer KEY`, or as the password of HTTP Basic, for browsers; None: open.
        hosts: names that a request may be addressed to; against pages of other sites that call themselves by a name
            which leads to this machine (DNS rebinding). Empty: any.
        max_bytes: of a body.
    """

    def __init__(self, app: ASGIApp, key: str | None, hosts: Sequence[str], max_bytes: int) -> None:
        self._app, self._key, self._hosts, self._max_bytes = app, key, frozenset(hosts), max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer with what is wrong."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = self._refused(scope, headers)
        if refused is None:
            await self._app(scope, *self._cut_off(scope, receive, send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await problem(*refused)(scope, receive, send)

    def _refused(self, scope: Scope, headers: Headers) -> Refusal | None:
        if self._hosts and _name(headers.get("host", "")) not in self._hosts:
            return 400, "invalid_request_error", "this host name is not served here; see ilm serve --allow-host.", {}
        if self._key is not None and scope["path"] not in OPEN and not self._known(headers.get("authorization", "")):
            asked = {"WWW-Authenticate": 'Basic realm="ilm"'}
            return 401, "authentication_error", "the API key is missing or wrong.", asked
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            return 400, "invalid_request_error", "Content-Length is not a number.", {}
        if int(length) > self._max_bytes:
            return self._too_large()
        return None

    def _too_large(self) -> Refusal:
        return 413, "invalid_request_error", f"the body is larger than {self._max_bytes:,} bytes.", {}

    def _known(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        if scheme.casefold() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except (binascii.Error, ValueError):
                return False
        elif scheme.casefold() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode(), (self._key or "").encode())

    def _cut_off(self, scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
        """End a body that does not say how long it is as soon as it is too long, and answer with that."""
        left, answered = self._max_bytes, False

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            return message if left >= 0 else {"type": "http.disconnect"}

        async def answer(message: Message) -> None:
            nonlocal answered
            if left >= 0:
                await send(message)
            elif not answered:
                answered = True
                await problem(*self._too_large())(scope, receive, send)

        return counted, answer


def _name(host: str) -> str:
    """A Host header without its port, `[::1]:80` too."""
    return host.rsplit("]", 1)[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0].casefold()
