"""A language model's own chat template, cut into the tokens around what is said.

The template is rendered once with marks in the places of the contents and split there, so contents are tokenised by
themselves, as plain text: nothing that a user or a title says can end a turn or begin another one.
"""

import re
from functools import cache
from typing import Any

from ilm.errors import ArtifactError

_MARK = "ilm-content-{}-here"
_MARKS = re.compile(r"ilm-content-\d+-here")


@cache
def chat_frames(tokenizer: Any, turns: int) -> tuple[tuple[int, ...], ...]:
    """Token ids before, between and behind the contents of `turns` questions and answers: 2 * turns + 1 stretches.

    Without a template in the tokenizer: `User:` and `Assistant:` on lines of their own, the end token behind answers.
    There is no system message of ours: not every template takes one.

    Raises:
        ArtifactError: the template does not show every content once, in order.
    """
    messages = [
        {"role": ("user", "assistant")[number % 2], "content": _MARK.format(number)} for number in range(2 * turns)
    ]
    text = (
        tokenizer.apply_chat_template(messages, tokenize=False)
        if tokenizer.chat_template
        else plain_chat(messages, tokenizer.eos_token)
    )
    if _MARKS.findall(text) != [message["content"] for message in messages]:
        raise ArtifactError(
            f"{tokenizer.name_or_path}: its chat template does not show every message once, in order. "
            "Correct chat_template in the model's folder, or remove it."
        )
    stretches = tokenizer(_MARKS.split(text), add_special_tokens=False)["input_ids"]
    return tuple(tuple(ids) for ids in stretches)


def plain_chat(messages: list[dict[str, str]], end: str) -> str:
    """A conversation for language models without a chat template."""
    shown = {"user": "User:\n{content}\n", "assistant": "Assistant:\n{content}" + end + "\n"}
    return "".join(shown[message["role"]].format(content=message["content"]) for message in messages)
