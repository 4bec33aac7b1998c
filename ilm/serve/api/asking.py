"""From a request to the batcher and back; a client that has gone away frees its place."""

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from ilm.serve.api.batching import Batcher
from ilm.serve.api.served import Served, ServedModel
from ilm.serve.question import Answered, Question
from ilm.serve.questions import Questions


class Gone(Exception):
    """The client has gone away; nobody reads the answer."""


async def ask(
    request: Request, name: str, make: Callable[[Questions], Question[Answered]]
) -> tuple[ServedModel, Answered]:
    """Ask the model of that name the question that `make` makes.

    Raises:
        NotServed: there is no such model.
        LookupFailed: the question is a mistake.
        Overloaded, TooLate: see `Batcher.ask`.
        Gone: the client went away first.
    """
    served: Served = request.app.state.served
    batcher: Batcher = request.app.state.batcher
    found = await served.find(name)
    question = await run_in_threadpool(make, found.model.questions)
    answering = asyncio.ensure_future(batcher.ask(found.model, question))
    leaving = asyncio.ensure_future(_gone(request))
    try:
        done, _ = await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        if answering not in done:
            raise Gone
        return found, answering.result()
    finally:
        for task in (answering, leaving):
            task.cancel()


async def _gone(request: Request) -> None:
    """Ends when the client hangs up; its body is read already."""
    message: Any = await request.receive()
    while message["type"] != "http.disconnect":
        message = await request.receive()
