"""Conversations take the form of training, and only if they are conversations."""

import numpy as np
import pytest

from ilm.errors import LookupFailed
from ilm.prompts.catalogue import Catalogue
from ilm.prompts.conversation import as_example
from ilm.prompts.example import USER, Item
from tests.ilm.serve.conftest import TITLES

CATALOGUE = Catalogue([str(index) for index in range(len(TITLES))], TITLES, np.ones(len(TITLES), bool))
NOBODY = np.zeros(0, np.int32)


def said(*words: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(words)]


def test_items_stand_as_soft_tokens_before_their_titles_and_history_before_the_first_question() -> None:
    example, mentioned = as_example(
        said("Something like Heat (1995).", "Try Ronin (1998).", "And older?"), np.array([7, 3, 7, 1, 2, 6]), CATALOGUE
    )
    first, second = example.turns
    liked = tuple(Item(index) for index in (7, 1, 2, 6))
    context = ("My taste is", USER, ". I liked", *liked, ". ")
    assert first.ask == (*context, "Something like", Item(0), " Heat (1995).")
    assert first.answer == ("Try", Item(1), " Ronin (1998).")
    assert second.ask == ("And older?",)
    assert second.answer == ()
    assert mentioned == [0, 1]
    assert example.profile.tolist() == [7, 3, 7, 1, 2, 6]


def test_of_nobody_nothing_is_said() -> None:
    example, mentioned = as_example(said("Hello"), NOBODY, CATALOGUE)
    assert example.turns[0].ask == ("Hello",)
    assert mentioned == []


def test_no_word_of_a_message_is_lost() -> None:
    text = '"Heat (1995)", Ronin (1998) or The Matrix? Heat (1986)'
    example, _ = as_example(said(text), NOBODY, CATALOGUE)
    assert "".join(piece for piece in example.turns[0].ask if isinstance(piece, str)) == text


def test_of_items_with_the_same_title_all_are_named_and_none_is_shown() -> None:
    example, mentioned = as_example(said("Like Twin (1)"), NOBODY, CATALOGUE)
    assert example.turns[0].ask == ("Like Twin (1)",)
    assert mentioned == [3, 4]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "0 messages"),
        (said("Hello", "Hello"), "2 messages; the last one must be the user's"),
        ([{"role": "system", "content": "Hello"}], "message 1 is .*'role': 'user'"),
        ([{"role": "user"}], "message 1 is"),
        (said(" "), "message 1 is empty"),
    ],
)
def test_what_is_no_conversation_gets_one_message(messages: list[dict[str, str]], message: str) -> None:
    with pytest.raises(LookupFailed, match=message):
        as_example(messages, NOBODY, CATALOGUE)
