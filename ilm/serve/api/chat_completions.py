"""`POST /v1/chat/completions` and `GET /v1/models`, as OpenAI's clients speak them.

Beyond their protocol, an answer has `items` (what its text names), `constraints` (what the conversation demands in so
many words) and `version`. Instructions to the system are not understood and left out.
"""

import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse

from ilm.errors import LookupFailed
from ilm.serve.api.asking import ask
from ilm.serve.api.problems import RESPONSES
from ilm.serve.api.schemas import ChatRequest, Message
from ilm.serve.api.served import NotServed, Served
from ilm.serve.question import Question, Reply
from ilm.serve.questions import Questions

router = APIRouter(prefix="/v1", tags=["OpenAI's protocol"], responses=RESPONSES)


_FORMS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An object chat.completion; with `stream`, events of chat.completion.chunk, then [DONE].",
        "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {}},
    }
}


@router.post("/chat/completions", response_model=None, responses=_FORMS)
async def chat_completions(wanted: ChatRequest, request: Request) -> JSONResponse | StreamingResponse:
    """Answer the last message with items of the catalogue, at once or as a stream of server-sent events."""
    messages = as_turns(wanted.messages)

    def make(questions: Questions) -> Question[Reply]:
        return questions.conversation(messages, user=wanted.user, history=wanted.history, k=wanted.k)

    served, reply = await ask(request, wanted.model, make)
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": wanted.model}
    beyond = {
        "items": [asdict(item) for item in reply.items],
        "constraints": reply.constraints,
        "version": served.version,
    }
    if wanted.stream:
        return StreamingResponse(_events(head, reply.text, beyond), media_type="text/event-stream")
    message = {"role": "assistant", "content": reply.text}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return JSONResponse({**head, "object": "chat.completion", "choices": [choice], **beyond})


@router.get("/models")
async def models(request: Request) -> dict[str, Any]:
    """The names that requests may give as `model`."""
    return {"object": "list", "data": _models(request.app.state.served)}


@router.get("/models/{name}")
async def model(name: str, request: Request) -> dict[str, Any]:
    """One of these."""
    for found in _models(request.app.state.served):
        if found["id"] == name:
            return found
    raise NotServed(f"no model '{name}' is served. `GET /v1/models` lists those that are.")


def _models(served: Served) -> list[dict[str, Any]]:
    created = int(served.champion.since.timestamp()) if served.champion else 0
    about = {"object": "model", "created": created, "owned_by": "item-language-model"}
    return [{"id": name, **about} for name in served.names()]


def as_turns(messages: list[Message]) -> list[dict[str, str]]:
    """User and assistant in turn, the user first: instructions and what is empty left out, neighbours joined.

    Raises:
        LookupFailed: the last word is not the user's.
    """
    turns: list[dict[str, str]] = []
    for message in messages:
        words = message.words()
        if message.role in ("system", "developer") or not words:
            continue
        if turns and turns[-1]["role"] == message.role:
            turns[-1] = {"role": message.role, "content": f"{turns[-1]['content']}\n{words}"}
        elif turns or message.role == "user":
            turns.append({"role": message.role, "content": words})
    if not turns or turns[-1]["role"] != "user":
        raise LookupFailed("messages: the last one must be the user's, and not empty, to be answered.")
    return turns


def _events(head: dict[str, Any], text: str, beyond: dict[str, Any]) -> Iterator[str]:
    def event(delta: dict[str, str], finish: str | None = None, more: dict[str, Any] | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        chunk = {**head, "object": "chat.completion.chunk", "choices": [choice], **(more or {})}
        return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"

    yield event({"role": "assistant", "content": ""})
    for piece in re.findall(r"\s*\S+|\s+$", text):
        yield event({"content": piece})
    yield event({}, "stop", beyond)
    yield "data: [DONE]\n\n"
