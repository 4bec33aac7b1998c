"""What Prometheus may collect: requests, seconds, what waits, prompts per pass, and which version is served."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30.0)
PROMPTS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """One registry per application.

    Args:
        waiting: how many questions wait now.
        version: which version is served now.
        behind: whether something keeps a newer champion from being served.
    """

    def __init__(
        self, waiting: Callable[[], int], version: Callable[[], str], behind: Callable[[], bool] = lambda: False
    ) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "ilm_requests", "Requests by route and status.", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "ilm_request_seconds", "Seconds per request.", ["route"], buckets=SECONDS, registry=self._registry
        )
        self.prompts = Histogram(
            "ilm_batch_prompts", "Prompts per pass of the model.", buckets=PROMPTS, registry=self._registry
        )
        Gauge("ilm_waiting", "Questions that wait.", registry=self._registry).set_function(waiting)
        told = "1: the registry cannot be asked, or its champion does not load; an older one is served."
        Gauge("ilm_champion_behind", told, registry=self._registry).set_function(behind)
        self._model = Info("ilm_model", "The champion that is served.", registry=self._registry)
        self._version = version

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        self._model.info({"version": self._version()})
        return generate_latest(self._registry)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)


class Counted:
    """Counts each request under its route's pattern: what users write in a path makes no new series.

    To be the outermost: what is refused counts too, and a defect as the 500 that it will be answered with.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and count what was answered; 499 where the client went away first."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 499, time.perf_counter()

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except Exception:
            status = 500
            raise
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.observe(route, status, time.perf_counter() - began)
