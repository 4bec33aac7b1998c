"""From what somebody asks to what a model is asked: users, titles and wishes are looked up here, and mistakes told."""

import difflib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ilm.errors import LookupFailed, UnknownName
from ilm.prompts.attributes import attributes
from ilm.prompts.catalogue import Catalogue
from ilm.prompts.constraints import Constraints, parse_constraints
from ilm.prompts.conversation import Messages, as_example, asked_about, reply_text
from ilm.prompts.example import Example
from ilm.prompts.stated import stated
from ilm.rank.conversation import best_items
from ilm.rank.head import HeadRecommender
from ilm.serve.conversation_length import require_explicable, require_readable
from ilm.serve.explanation import Explainer, Explanation
from ilm.serve.new_items import texts
from ilm.serve.question import Question, Recommendation, Reply

Histories: TypeAlias = Mapping[str, NDArray[np.int32]]
"""User id -> item indexes, oldest first."""


class Questions:
    """Makes the questions that a model answers; each method says what it raises, `LookupFailed` for a user's mistake.

    Args:
        ranker: the model.
        catalogue: its items (Parquet columns of `ilm.data.catalogue`).
        histories: of the users.
        item_factors: [n_items, d] CF vectors.
        cold: indexes of items that nobody had met when the model was made.
    """

    def __init__(
        self,
        ranker: HeadRecommender,
        catalogue: pa.Table,
        histories: Histories,
        item_factors: NDArray[np.float32],
        cold: frozenset[int],
    ) -> None:
        self._ranker, self._table, self._histories, self.cold = ranker, catalogue, histories, cold
        self._item_factors = item_factors
        self._known = attributes(catalogue)
        self._catalogue = Catalogue(catalogue["item_id"].to_pylist(), self._known.titles, self._known.active)
        self._item_ids = frozenset(self._catalogue.item_ids)

    def recommendation(
        self,
        *,
        user: str | None = None,
        history: Sequence[str] | None = None,
        k: int = 10,
        exclude_seen: bool = True,
        exclude: Sequence[str] = (),
        where: Mapping[str, Any] | None = None,
    ) -> Question[Reply]:
        """As `ItemLanguageModel.rank`."""
        seen = self._required(user, history)
        excluded = [*(seen.tolist() if exclude_seen else ()), *self.indexes(exclude)]
        return self._best(self._recommending(seen), parse_constraints(where or {}, self._known), excluded, k)

    def conversation(
        self,
        messages: Messages,
        *,
        user: str | None = None,
        history: Sequence[str] | None = None,
        k: int = 3,
    ) -> Question[Reply]:
        """As `ItemLanguageModel.chat`."""
        language_model = self._ranker.model.language_model
        tokens = require_readable(language_model, [message.get("content", "") for message in messages])
        seen = self._seen(user, history)
        example, named = as_example(messages, seen, self._catalogue)
        about = asked_about(messages, self._catalogue)
        if about is None:
            demanded = stated(messages, self._known, self._catalogue)
            return self._best(example, demanded, [*seen.tolist(), *named], k)
        item, before = about
        why = self._explainer.question(item, seen, lambda history: as_example(before, history, self._catalogue)[0])
        require_explicable(tokens, len(why.examples))

        def read(scores: NDArray[np.float32]) -> Reply:
            return Reply(self._explainer.in_words(why.read(scores)), self._recommended(scores[0], [item]))

        return Question(why.examples, read)

    def explanation(
        self, item: str, *, user: str | None = None, history: Sequence[str] | None = None
    ) -> Question[Explanation]:
        """As `ItemLanguageModel.explain`."""
        seen = self._required(user, history)
        return self._explainer.question(self._catalogue.find(item), seen, self._recommending)

    def item(self, wanted: str) -> dict[str, Any]:
        """As `ItemLanguageModel.item`."""
        index = self._catalogue.find(wanted)
        (row,) = self._table.slice(index, 1).to_pylist()
        return {name: value for name, value in row.items() if name != "item_index"} | {"cold": index in self.cold}

    def search(self, words: str, count: int = 8) -> list[tuple[str, str]]:
        """Id and title of items whose title contains the words."""
        found = self._catalogue.search(words, count)
        return [(self._catalogue.item_ids[item], self._catalogue.titles[item]) for item in found]

    def knows(self, item_id: str) -> bool:
        """Whether there is an item of that id."""
        return item_id in self._item_ids

    def users(self) -> list[str]:
        """Ids of the users of the log."""
        return list(self._histories)

    def history(self, user: str) -> list[str]:
        """As `ItemLanguageModel.history`."""
        return [self._catalogue.item_ids[item] for item in self._seen(user, None).tolist()]

    def indexes(self, items: Sequence[str]) -> list[int]:
        """Item indexes of titles or ids.

        Raises:
            LookupFailed: no item or several have the title.
        """
        return [self._catalogue.find(item) for item in items]

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self._ranker, self._catalogue, self._known, texts(self._table), self._item_factors)

    def _recommending(self, seen: NDArray[np.int32]) -> Example:
        (example,) = self._ranker.prompts.recommendations("sequential", [seen])
        return example

    def _best(
        self, example: Example, constraints: Constraints, excluded: Sequence[int] | NDArray[np.int32], k: int
    ) -> Question[Reply]:
        """The k best active items that are not excluded and of which the constraints hold."""
        if k < 1:
            raise LookupFailed(f"k is {k}; ask for at least 1 item.")
        allowed = self._known.active & constraints.allowed(self._known)
        allowed[np.array(excluded, np.int32)] = False

        def read(scores: NDArray[np.float32]) -> Reply:
            best, demanded = best_items(scores[0], allowed, k), str(constraints)
            return Reply(reply_text(self._known, best, demanded), self._recommended(scores[0], best), demanded)

        return Question((example,), read)

    def _recommended(self, scores: NDArray[np.float32], items: Sequence[int]) -> list[Recommendation]:
        ids, titles = self._catalogue.item_ids, self._catalogue.titles
        return [Recommendation(ids[item], titles[item], float(scores[item]), item in self.cold) for item in items]

    def _required(self, user: str | None, history: Sequence[str] | None) -> NDArray[np.int32]:
        if (user is None) == (not history):
            raise LookupFailed("give either a user id or a history of titles, and not both.")
        return self._seen(user, history)

    def _seen(self, user: str | None, history: Sequence[str] | None) -> NDArray[np.int32]:
        """The history of a user of the log, or the items of the titles, or nothing."""
        if user is not None and history:
            raise LookupFailed("give a user id or a history of titles, not both.")
        if user is None:
            return np.array(self.indexes(history or []), dtype=np.int32)
        if user not in self._histories:
            if not self._histories:
                raise UnknownName("this model was handed on without its users. Name titles instead.")
            raise UnknownName(
                f"user '{user}' is not among the {len(self._histories):,} users of this model. Name titles instead.",
                lambda: f"Near: {', '.join(self._users_like(user))}.",
            )
        return self._histories[user]

    def _users_like(self, user: str) -> list[str]:
        return difflib.get_close_matches(user, self._histories, n=3, cutoff=0.0) or sorted(self._histories)[:3]


def read_histories(users: pa.Table, sequences: pa.Table) -> Histories:
    """Of a model's tables: ids of users by index, and items by index of the user, users one behind the other."""
    if not len(sequences):
        return {}
    user_ids = dict(zip(users["user_index"].to_pylist(), users["user_id"].to_pylist(), strict=True))
    of_rows = sequences["user_index"].to_numpy()
    starts = np.append(0, np.flatnonzero(np.diff(of_rows)) + 1)
    items = sequences["item_index"].to_numpy().astype(np.int32, copy=False)
    parts = zip(of_rows[starts].tolist(), np.split(items, starts[1:]), strict=True)
    return {user_ids[index]: part for index, part in parts}
