"""A conversation is bounded by what it costs to read, in whatever script it is written."""

from pathlib import Path

import pytest

from ilm import ItemLanguageModel
from ilm.errors import LookupFailed
from ilm.serve import conversation_length
from ilm.serve.conversation_length import MOST_CHARACTERS, MOST_TOKENS, require_explicable, require_readable


@pytest.fixture(scope="module")
def model(model_folder: Path) -> ItemLanguageModel:
    return ItemLanguageModel.from_pretrained(model_folder)


def ask(words: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": words}]


def test_few_characters_of_many_tokens_are_too_many(model):
    rare = "\U0001f9ec" * (MOST_TOKENS // 2)
    with pytest.raises(LookupFailed, match="tokens; 4,096 can be read"):
        model.questions.conversation(ask(rare))


def test_all_messages_count(model):
    language_model = model.questions._ranker.model.language_model
    assert require_readable(language_model, ["abc"] * 5) == 5 * require_readable(language_model, ["abc"])
    with pytest.raises(LookupFailed, match="20,001 characters"):
        require_readable(language_model, ["x" * MOST_CHARACTERS, "x"])


@pytest.mark.parametrize("half", ["\ud800", "fine \udfff", "\udc00\ud800"])
def test_half_a_character_is_a_mistake_and_not_a_defect(model, half):
    with pytest.raises(LookupFailed, match="message 1 has half a character"):
        model.chat(ask(half))


def test_an_explanation_pays_for_all_its_prompts(model, monkeypatch):
    require_explicable(4_096, 4)
    with pytest.raises(LookupFailed, match="too long to be explained"):
        require_explicable(4_096, 5)
    talk = [*ask("Hello"), {"role": "assistant", "content": "Try Ronin (1998)."}, *ask("Why?")]
    assert model.chat(talk, history=["i0", "i2"]).text
    monkeypatch.setattr(conversation_length, "MOST_TOKENS_EXPLAINED", 10)
    with pytest.raises(LookupFailed, match="too long to be explained"):
        model.chat(talk, history=["i0", "i2"])
