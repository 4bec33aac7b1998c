"""The tokens around what is said come from the language model's own template."""

from types import SimpleNamespace

import pytest

from ilm.errors import ArtifactError
from ilm.prompts.chat import chat_frames


def test_frames_of_the_plain_form_join_to_the_conversation(lm):
    before, between, after, again, end = chat_frames(lm.tokenizer, 2)
    shown = [lm.tokenizer.decode(ids) for ids in (before, between, after, again, end)]
    assert shown == ["User:\n", "\nAssistant:\n", "<end>\nUser:\n", "\nAssistant:\n", "<end>\n"]


def test_a_template_that_hides_a_message_is_refused():
    class Tokenizer(SimpleNamespace):
        __hash__ = object.__hash__

        def apply_chat_template(self, messages, tokenize):
            return messages[-1]["content"]

    with pytest.raises(ArtifactError, match="chat template does not show every message once"):
        chat_frames(Tokenizer(chat_template="x", name_or_path="some model"), 1)
