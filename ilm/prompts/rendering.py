"""Examples -> one batch of tokens: placeholders for items and users, what is learned, and where the head is asked.

All words of a batch are tokenised in one call, as plain text: a title cannot forge a placeholder or end a turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ilm.model.bridge import Prompts
from ilm.model.head import RetrievalHead
from ilm.model.item_context import Places
from ilm.model.language_model import LanguageModel
from ilm.prompts.chat import chat_frames
from ilm.prompts.example import Content, Example, Item
from ilm.prompts.recommendation import recommendation


@dataclass(frozen=True)
class Rendered:
    """Prompts with the places that are read from them.

    `answer` [b]: position of each prompt's last token before its last answer, where the next item is predicted.
    `ends`, `behind`: where the head is asked for a known item, at the ends of questions and behind items.
    `spoken` [b, l] bool: positions whose successor is a token of an answer.
    `shown`: every item of the prompts, at its last token. `user_rows` [users]: the prompt of each of `prompts.users`.
    """

    prompts: Prompts
    answer: Tensor
    ends: Places
    behind: Places
    spoken: Tensor
    shown: Places
    user_rows: Tensor

    def context(
        self, head: RetrievalHead, table: Tensor, user_queries: Tensor, rows: Tensor, positions: Tensor
    ) -> Tensor | None:
        """The head's context [p, e] at prompt `rows`, token `positions` [p]; `user_queries` [users, q, h]."""
        return head.context(table, self.shown, rows, positions, user_queries, self.user_rows)

    def to(self, device: torch.device) -> "Rendered":
        """The same on a device."""
        prompts = self.prompts
        moved = Prompts(*(t.to(device) for t in (prompts.token_ids, prompts.mask, prompts.items, prompts.users)))
        ends, behind = self.ends.to(device), self.behind.to(device)
        shown, user_rows = self.shown.to(device), self.user_rows.to(device)
        return Rendered(moved, self.answer.to(device), ends, behind, self.spoken.to(device), shown, user_rows)


class Renderer:
    """Turns examples into batches for one language model.

    Args:
        language_model: whose tokens.
        soft_tokens: placeholders per item or user.
        max_answer_tokens: the words of an answer are cut there, and then have no end; None cuts nothing.
        item_names: of the function `item_names`, for models without soft tokens.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        soft_tokens: int,
        max_answer_tokens: int | None = None,
        item_names: Tensor | None = None,
    ) -> None:
        self.language_model, self.max_answer_tokens = language_model, max_answer_tokens
        self.item_slot = [language_model.item_id] * soft_tokens
        self.user_slot = [language_model.user_id] * soft_tokens
        self.item_names = item_names
        tokenizer = language_model.tokenizer
        self.alone = (tuple(tokenizer("")["input_ids"]), (), (tokenizer.eos_token_id,))
        self.special = frozenset(tokenizer.all_special_ids)

    def __call__(self, examples: Sequence[Example], users: Tensor) -> Rendered:
        """Render a batch.

        Args:
            examples: at least one.
            users: CF vectors [b, d] of the examples' users; not read where an example shows none.
        """
        words = self._tokenised(examples)
        rows = [self._row(example, words) for example in examples]
        shape = len(rows), max(len(row.ids) for row in rows)
        token_ids = torch.full(shape, int(self.language_model.tokenizer.pad_token_id))
        mask, spoken = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
        for number, row in enumerate(rows):
            token_ids[number, : len(row.ids)] = torch.tensor(row.ids)
            mask[number, : len(row.ids)] = True
            spoken[number, : len(row.ids) - 1] = torch.tensor(row.learned[1:], dtype=torch.bool)
        items = torch.tensor([item for row in rows for item in row.items], dtype=torch.int64)
        user_rows = torch.tensor(
            [number for number, row in enumerate(rows) for _ in range(row.users)], dtype=torch.int64
        )
        return Rendered(
            Prompts(token_ids, mask, items, users[user_rows]),
            torch.tensor([row.answer for row in rows]),
            _places([row.ends for row in rows]),
            _places([row.behind for row in rows]),
            spoken,
            _places([row.shown for row in rows]),
            user_rows,
        )

    def _tokenised(self, examples: Sequence[Example]) -> dict[str, list[int]]:
        contents = (content for example in examples for turn in example.turns for content in (turn.ask, turn.answer))
        words = list(dict.fromkeys(piece for content in contents for piece in content if isinstance(piece, str)))
        return dict(zip(words, tokenise(self.language_model, words), strict=True))

    def _row(self, example: Example, words: dict[str, list[int]]) -> "_Row":
        """One prompt; ends where there is nothing more to learn."""
        row, done = _Row(), 0
        frames = chat_frames(self.language_model.tokenizer, len(example.turns)) if example.chat else self.alone
        for number, turn in enumerate(example.turns):
            before, between, behind = frames[2 * number : 2 * number + 3]
            row.add(before[done:])
            self._say(row, turn.ask, words)
            row.add(between)
            row.answer = len(row.ids) - 1
            if turn.target is not None:
                row.ends.append((row.answer, turn.target))
            if turn.answer:
                whole = self._say(row, turn.answer, words, learned=True)
                done = next((place for place, token in enumerate(behind) if token in self.special), 0) + 1
                row.add(behind[:done], learned=whole)
        return row

    def _say(self, row: "_Row", content: Content, words: dict[str, list[int]], learned: bool = False) -> bool:
        """Add a content; returns whether all of it was said, not cut as too long an answer."""
        left = self.max_answer_tokens if learned and self.max_answer_tokens is not None else None
        for piece in content:
            if isinstance(piece, str):
                tokens = words[piece]
                row.add(tokens[:left], learned)
                if left is not None and len(tokens) > left:
                    return False
                left = left - len(tokens) if left is not None else None
            elif isinstance(piece, Item):
                self._show(row, piece.index)
                row.shown.append((len(row.ids) - 1, piece.index))
                if piece.following is not None:
                    row.behind.append((len(row.ids) - 1, piece.following))
            else:
                row.add(self.user_slot)
                row.users += 1
        return True

    def _show(self, row: "_Row", item: int) -> None:
        """Add an item: placeholders to be filled from its vector, or its name."""
        if self.item_names is None:
            row.add(self.item_slot)
            row.items.append(item)
        else:
            row.add([token for token in self.item_names[item].tolist() if token >= 0])


@dataclass
class _Row:
    """One prompt while it is put together."""

    ids: list[int] = field(default_factory=list)
    learned: list[bool] = field(default_factory=list)
    items: list[int] = field(default_factory=list)
    users: int = 0
    ends: list[tuple[int, int]] = field(default_factory=list)
    """(position, item)"""
    behind: list[tuple[int, int]] = field(default_factory=list)
    shown: list[tuple[int, int]] = field(default_factory=list)
    answer: int = 0

    def add(self, tokens: Sequence[int], learned: bool = False) -> None:
        self.ids.extend(tokens)
        self.learned.extend([learned] * len(tokens))


def _places(places: list[list[tuple[int, int]]]) -> Places:
    triples = [(row, position, item) for row, found in enumerate(places) for position, item in found]
    rows, positions, items = torch.tensor(triples, dtype=torch.int64).reshape(-1, 3).unbind(dim=1)
    return Places(rows, positions, items)


def render(
    language_model: LanguageModel,
    templates: Sequence[str],
    histories: Sequence[NDArray[np.int32]],
    users: Tensor,
    soft_tokens: int,
    item_names: Tensor | None = None,
) -> Rendered:
    """Recommendation prompts to rank with: nothing is learned, nothing asked; read the states at `answer`.

    Args:
        templates: one per prompt, with `{user}` and perhaps `{history}`.
        histories: item indexes, oldest first, already cut to the length that is shown.
        users: CF vectors [b, d].
        soft_tokens: placeholders per item or user.
        item_names: as in `Renderer`.
    """
    pairs = zip(templates, histories, strict=True)
    examples = [recommendation(template, history, max_history=len(history)) for template, history in pairs]
    return Renderer(language_model, soft_tokens, item_names=item_names)(examples, users)


def tokenise(language_model: LanguageModel, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts as plain text: special tokens that they spell out are split into characters or words."""
    if not texts:
        return []
    tokenizer = language_model.tokenizer
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids


def title_tokens(language_model: LanguageModel, titles: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Token ids of each title as an answer: a space before, the end token behind, cut at `max_tokens`."""
    end = language_model.tokenizer.eos_token_id
    return [[*ids, end][:max_tokens] for ids in tokenise(language_model, [f" {title}" for title in titles])]


def item_names(language_model: LanguageModel, titles: Sequence[str], max_tokens: int) -> Tensor:
    """How items stand in a prompt without vectors: int64 [n, t] tokens of ` Title,`, filled up with -1.

    A longer name is cut; the comma stays, so that the head is always asked behind the same token.
    """
    (comma,) = tokenise(language_model, [","])
    rows = [[*ids[: max_tokens - len(comma)], *comma] for ids in tokenise(language_model, [f" {t}" for t in titles])]
    names = torch.full((len(rows), max(map(len, rows), default=0)), -1)
    for name, ids in zip(names, rows, strict=True):
        name[: len(ids)] = torch.tensor(ids)
    return names
