"""Examples -> token batches: placeholders for items and users, and optionally the answer's title behind each prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ilm.model.bridge import Prompts
from ilm.model.language_model import ITEM_TOKEN, USER_TOKEN, LanguageModel


@dataclass(frozen=True)
class Rendered:
    """Prompts with the places that are read from them.

    `answer` [b]: position of each prompt's last token, where the next item is predicted.
    `title` [b, l] bool: positions whose successor is a token of the answer's title (empty without titles).
    """

    prompts: Prompts
    answer: Tensor
    title: Tensor


def render(
    language_model: LanguageModel,
    templates: Sequence[str],
    histories: Sequence[NDArray[np.int32]],
    users: Tensor,
    soft_tokens: int,
    titles: Sequence[list[int]] | None = None,
) -> Rendered:
    """Render one prompt per history.

    Args:
        templates: one per prompt, with `{user}` and perhaps `{history}`.
        histories: item indexes, oldest first, already cut to the length that is shown.
        users: CF vectors [b, d].
        soft_tokens: placeholders per item or user.
        titles: token ids to append behind each prompt as its answer, if the language-model loss is wanted.
    """
    texts = [
        template.format(history=ITEM_TOKEN * (soft_tokens * len(history)), user=USER_TOKEN * soft_tokens)
        for template, history in zip(templates, histories, strict=True)
    ]
    rows: list[list[int]] = language_model.tokenizer(texts)["input_ids"]
    answers = titles if titles is not None else [[] for _ in rows]
    length = max(len(row) + len(answer) for row, answer in zip(rows, answers, strict=True))
    token_ids = torch.full((len(rows), length), int(language_model.tokenizer.pad_token_id))
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    title = torch.zeros(len(rows), length, dtype=torch.bool)
    for index, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        token_ids[index, : len(row) + len(answer)] = torch.tensor(row + answer)
        mask[index, : len(row) + len(answer)] = True
        title[index, len(row) - 1 : len(row) + len(answer) - 1] = True
    shown = [history for template, history in zip(templates, histories, strict=True) if "{history}" in template]
    items = torch.from_numpy(np.concatenate(shown).astype(np.int64)) if shown else torch.zeros(0, dtype=torch.int64)
    answer_position = torch.tensor([len(row) - 1 for row in rows])
    return Rendered(Prompts(token_ids, mask, items, users), answer_position, title)


def title_tokens(language_model: LanguageModel, titles: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Token ids of each title as an answer: a space before, the end token behind, cut at `max_tokens`.

    Special tokens that a title may spell out are split into plain text: a title cannot forge a placeholder.
    """
    tokenizer = language_model.tokenizer
    ids = tokenizer([" " + title for title in titles], add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return [([*row, tokenizer.eos_token_id])[:max_tokens] for row in ids]
