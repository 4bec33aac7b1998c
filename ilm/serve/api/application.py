"""The FastAPI application around served models. `/` is left free for a page."""

from importlib import metadata
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline

from ilm.serve.api import chat_completions, problems, recommend
from ilm.serve.api.asking import Gone
from ilm.serve.api.batching import Batcher
from ilm.serve.api.guard import Guard
from ilm.serve.api.limits import Limits
from ilm.serve.api.metrics import Counted, Metrics
from ilm.serve.api.served import Served


def make_application(served: Served, limits: Limits, key: str | None = None) -> FastAPI:
    """The application; `application.state` has `served`, `batcher` and `metrics`.

    Args:
        served: the models.
        limits: of load.
        key: the API key that requests must bring; None: they need none.
    """
    application = FastAPIOffline(
        title="Item-Language Model",
        version=metadata.version("item-language-model"),
        description="A recommender that talks: rankings of the whole catalogue, and OpenAI's chat protocol.",
    )
    metrics = Metrics(
        lambda: len(batcher),
        lambda: served.champion.version if served.champion else "none",
        lambda: served.problem is not None,
    )
    batcher = Batcher(limits.max_prompts, limits.max_waiting, limits.seconds, metrics.prompts.observe)
    application.state.served, application.state.batcher, application.state.metrics = served, batcher, metrics
    problems.install(application)
    application.add_exception_handler(Gone, lambda request, error: Response(status_code=499))
    application.include_router(recommend.router)
    application.include_router(chat_completions.router)

    @application.get("/health", tags=["operation"])
    async def health() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @application.get("/ready", tags=["operation"], responses={503: problems.RESPONSES[503]}, response_model=None)
    async def ready() -> dict[str, Any] | JSONResponse:
        """Which version is served, and since when; 503 before there is one. `problem`: why it is not a newer one."""
        found = served.champion
        if found is None:
            return problems.problem(503, "not_ready", served.problem or "no model is loaded yet.")
        return {"version": found.version, "since": found.since.isoformat(), "problem": served.problem}

    @application.get("/metrics", tags=["operation"], response_class=Response)
    async def prometheus() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    application.add_middleware(Guard, key=key, hosts=tuple(limits.hosts), max_bytes=limits.max_bytes)
    application.add_middleware(Counted, metrics=metrics)
    return application
