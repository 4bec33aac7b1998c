"""`POST /recommend` and `GET /items/{id}`."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from ilm.serve.api.asking import ask
from ilm.serve.api.problems import RESPONSES
from ilm.serve.api.schemas import Item, ModelName, RecommendRequest, RecommendResponse
from ilm.serve.api.served import CHAMPION
from ilm.serve.question import Question, Reply
from ilm.serve.questions import Questions

router = APIRouter(responses=RESPONSES)


@router.post("/recommend", tags=["recommendations"])
async def recommend(wanted: RecommendRequest, request: Request) -> RecommendResponse:
    """The best unseen items for a user of the log, or for a history, out of the whole catalogue."""

    def make(questions: Questions) -> Question[Reply]:
        return questions.recommendation(
            user=wanted.user, history=wanted.history, k=wanted.k, exclude_seen=wanted.exclude_seen,
            exclude=wanted.exclude, where=wanted.filters(),
        )  # fmt: skip

    served, reply = await ask(request, wanted.model, make)
    items = [Item(**asdict(item)) for item in reply.items]
    return RecommendResponse(model=wanted.model, version=served.version, items=items)


@router.get("/items/{item_id:path}", tags=["catalogue"])
async def item(item_id: str, request: Request, model: ModelName = CHAMPION) -> dict[str, Any]:
    """What the catalogue says of an item, by id or title."""
    served = await request.app.state.served.find(model)
    found: dict[str, Any] = await run_in_threadpool(served.model.item, item_id)
    return found
