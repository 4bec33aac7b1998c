"""One browser's visit: a conversation with the champion or the challenger, by the same queue as every request."""

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool

from ilm.serve.api.batching import Batcher
from ilm.serve.api.served import CHAMPION, Served, ServedModel
from ilm.serve.explanation import Explanation
from ilm.serve.question import Answered, Question, Reply
from ilm.serve.session import Session


class Visit:
    """What one visitor sees and says. Mistakes are `IlmError`, and leave it as it was.

    Args:
        served: the models.
        batcher: asks them.
    """

    def __init__(self, served: Served, batcher: Batcher) -> None:
        self._served, self._batcher = served, batcher
        self.model_name = CHAMPION
        self.found: ServedModel = served.get(CHAMPION)
        self.session = Session(self.found.model)

    def models(self) -> list[str]:
        """Names of the models that there are now."""
        return self._served.names()

    async def choose(self, model_name: str) -> None:
        """Talk to the champion or the challenger from now on; what was said stays."""
        self._follow(await self._served.find(model_name))
        self.model_name = model_name

    async def say(self, words: str) -> Reply:
        """Have a message answered."""
        reply = await self._asked(lambda: self.session.question(words))
        self.session.take(words, reply)
        return reply

    async def explain(self, item: str) -> Explanation:
        """Why an item, for the visitor's history."""
        return await self._asked(lambda: self.session.explanation(item))

    def become(self, user: str) -> None:
        """Take over the history of a user of the log, and begin anew."""
        self.session = Session(self.found.model, user=user)

    async def _asked(self, make: Callable[[], Question[Answered]]) -> Answered:
        self._follow(await self._served.find(self.model_name))
        return await self._batcher.ask(self.found.model, await run_in_threadpool(make))

    def _follow(self, found: ServedModel) -> None:
        """Go on with a model that has taken over; items that it does not know leave the history."""
        if found is self.found:
            return
        self.session.history = [item for item in self.session.history if found.model.questions.knows(item)]
        self.found, self.session.model = found, found.model
