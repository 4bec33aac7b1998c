"""Questions that wait are answered together: one pass through the language model for as many as fit.

Nobody waits for company: a pass begins as soon as the one before it has ended, with whatever is there by then. All
prompts of a pass are as long as its longest, so long ones do not share it with many.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ilm.errors import IlmError
from ilm.serve.item_language_model import ItemLanguageModel
from ilm.serve.question import Answered, Question

MAX_LENGTH = 16_384
"""Prompts of a pass times the longest one's bytes: half a kilobyte each at 32 prompts, which is a long talk."""


class Overloaded(IlmError):
    """So many wait already that one more would wait too long."""


class TooLate(IlmError):
    """The answer did not come in time."""


@dataclass(eq=False)
class _Waiting:
    model: ItemLanguageModel
    question: Question[Any]
    answer: "asyncio.Future[Any]"


class Batcher:
    """A bounded queue before one thread that asks the model. To be used from one event loop.

    Args:
        max_prompts: prompts per pass; a question of more prompts has a pass of its own.
        max_waiting: questions that may wait; one more is refused.
        seconds: how long an answer may take, waiting included.
        observe: told the number of prompts of each pass.
    """

    def __init__(
        self, max_prompts: int, max_waiting: int, seconds: float, observe: Callable[[int], None] = lambda prompts: None
    ) -> None:
        self._max_prompts, self._max_waiting, self._seconds, self._observe = max_prompts, max_waiting, seconds, observe
        self._waiting: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._worker: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many questions wait."""
        return len(self._waiting)

    async def ask(self, model: ItemLanguageModel, question: Question[Answered]) -> Answered:
        """The model's answer. Who is cancelled while waiting leaves the queue, and the model is not asked.

        Raises:
            Overloaded: the queue is full.
            TooLate: the answer did not come in time.
        """
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded(f"{len(self._waiting):,} requests wait already. Try again in a second.")
        waiting = _Waiting(model, question, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            answer: Answered = await asyncio.wait_for(waiting.answer, self._seconds)
        except TimeoutError:
            raise TooLate(f"no answer within {self._seconds:g} seconds. Try again later, or ask for less.") from None
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
        return answer

    async def _work(self) -> None:
        """Answer until nobody waits."""
        while self._waiting:
            batch = self._next()
            self._observe(sum(len(waiting.question.examples) for waiting in batch))
            try:
                answers: list[Any] = await self._answered(batch)
            except Exception as error:
                if len(batch) > 1:  # one of them cannot be answered: the others can
                    for waiting in batch:
                        await self._alone(waiting)
                else:
                    _end(batch[0], error=error)
                continue
            for waiting, answer in zip(batch, answers, strict=True):
                _end(waiting, answer)

    def _next(self) -> list[_Waiting]:
        """The first that waits, and those behind it for the same model that fit into the same pass."""
        batch: list[_Waiting] = []
        prompts, longest, model = 0, 0, self._waiting[0].model
        for waiting in self._waiting:
            if waiting.model is not model:
                continue
            prompts, longest = prompts + len(waiting.question.examples), max(longest, waiting.question.longest)
            if batch and (prompts > self._max_prompts or prompts * longest > MAX_LENGTH):
                break
            batch.append(waiting)
        for waiting in batch:
            self._waiting.remove(waiting)
        return batch

    async def _alone(self, waiting: _Waiting) -> None:
        try:
            _end(waiting, (await self._answered([waiting]))[0])
        except Exception as error:
            _end(waiting, error=error)

    async def _answered(self, batch: list[_Waiting]) -> list[Any]:
        questions = [waiting.question for waiting in batch]
        return await asyncio.get_running_loop().run_in_executor(self._thread, batch[0].model.answer, questions)


def _end(waiting: _Waiting, answer: Any = None, error: Exception | None = None) -> None:
    if waiting.answer.done():  # cancelled: nobody waits any more
        return
    if error is None:
        waiting.answer.set_result(answer)
    else:
        waiting.answer.set_exception(error)
