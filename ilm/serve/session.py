"""A conversation that goes on: what was said, what the person likes, and the items of the last answer."""

from collections.abc import Sequence

from ilm.errors import LookupFailed
from ilm.serve.explanation import Explanation
from ilm.serve.item_language_model import ItemLanguageModel
from ilm.serve.question import Question, Recommendation, Reply


class Session:
    """One person's conversation with a model. A mistake (`LookupFailed`) leaves it as it was.

    Args:
        model: who answers; may be replaced by a newer one between two answers.
        user: id of a user of the log, whose history it begins with; or
        history: titles or ids of what somebody liked, oldest first; or neither.
        k: items per answer.
    """

    def __init__(
        self, model: ItemLanguageModel, *, user: str | None = None, history: Sequence[str] = (), k: int = 3
    ) -> None:
        if user is not None and history:
            raise LookupFailed("give a user id or a history of titles, not both.")
        self.model, self.k = model, k
        self.history: list[str] = model.history(user) if user is not None else [_id(model, item) for item in history]
        """Item ids, oldest first."""
        self.messages: list[dict[str, str]] = []
        self.shown: list[Recommendation] = []
        """The items of the last answer."""

    def say(self, words: str) -> Reply:
        """Answer the next message."""
        (reply,) = self.model.answer([self.question(words)])
        self.take(words, reply)
        return reply

    def question(self, words: str) -> Question[Reply]:
        """The next message, for somebody else to have it answered and to `take` the reply."""
        messages = [*self.messages, {"role": "user", "content": words}]
        return self.model.questions.conversation(messages, history=self.history, k=self.k)

    def take(self, words: str, reply: Reply) -> None:
        """Remember a message and what was answered."""
        said = {"role": "user", "content": words}, {"role": "assistant", "content": reply.text}
        self.messages, self.shown = [*self.messages, *said], reply.items

    def like(self, item: str) -> str:
        """Put an item behind the history, by title, id, or number in the last answer; gives its title."""
        found = self._item(item)
        self.history.append(found)
        return self.title(found)

    def title(self, item: str) -> str:
        """The title of an item id."""
        return str(self.model.item(item)["title"])

    def because(self, item: str) -> Explanation:
        """Why an item, named as for `like`, would be recommended to this history.

        Raises:
            LookupFailed: there is no such item, or no history to explain it by.
        """
        (explained,) = self.model.answer([self.explanation(item)])
        return explained

    def explanation(self, item: str) -> Question[Explanation]:
        """As `because`, for somebody else to have it answered."""
        if not self.history:
            raise LookupFailed("there is no history yet to explain anything by. Name something you like first.")
        return self.model.questions.explanation(self._item(item), history=self.history)

    def reset(self) -> None:
        """Forget what was said; the history stays."""
        self.messages, self.shown = [], []

    def _item(self, wanted: str) -> str:
        if wanted.isdecimal() and 0 < int(wanted) <= len(self.shown):
            return self.shown[int(wanted) - 1].item_id
        return _id(self.model, wanted)


def _id(model: ItemLanguageModel, wanted: str) -> str:
    return str(model.item(wanted)["item_id"])
