"""A conversation keeps what was said and liked; a mistake leaves it as it was."""

from pathlib import Path

import pytest

from ilm import ItemLanguageModel
from ilm.errors import LookupFailed
from ilm.serve.session import Session


@pytest.fixture(scope="module")
def model(model_folder: Path) -> ItemLanguageModel:
    return ItemLanguageModel.from_pretrained(model_folder)


def test_each_message_is_answered_in_the_light_of_those_before(model):
    session = Session(model, user="alice", k=2)
    first = session.say("Something from the 90s")
    second = session.say("Something else")
    assert not {item.item_id for item in first.items} & {item.item_id for item in second.items}
    assert first.constraints == second.constraints == "from 1990 to 1999"
    assert [turn["role"] for turn in session.messages] == ["user", "assistant"] * 2
    assert session.shown == second.items
    session.reset()
    assert (session.messages, session.shown) == ([], [])
    assert session.say("Something from the 90s") == first


def test_a_user_of_the_log_is_the_user_of_the_model(model):
    assert Session(model, user="alice").say("Hello") == model.chat([{"role": "user", "content": "Hello"}], user="alice")


def test_what_is_liked_joins_the_history_by_title_id_or_number(model):
    session = Session(model, history=["Heat (1995)"], k=2)
    shown = session.say("Hello").items
    assert session.like("2") == shown[1].title
    assert session.like("ronin (1998)") == "Ronin (1998)"
    assert session.like("i3") == "Twin (1)"
    assert session.history == ["i0", shown[1].item_id, "i1", "i3"]
    assert not {item.item_id for item in session.say("More").items} & set(session.history)


def test_items_are_explained_by_number_and_not_without_a_history(model):
    session = Session(model, k=2)
    shown = session.say("Hello").items
    with pytest.raises(LookupFailed, match="no history yet"):
        session.because("1")
    session.like("Heat (1995)")
    assert session.because("1").item_id == shown[0].item_id
    with pytest.raises(LookupFailed, match="'3'"):
        session.because("3")


@pytest.mark.parametrize("words", ["", "x" * 20_001])
def test_a_mistake_changes_nothing(model, words):
    session = Session(model, user="alice")
    session.say("Hello")
    before = (list(session.messages), list(session.history), session.shown)
    with pytest.raises(LookupFailed):
        session.say(words)
    with pytest.raises(LookupFailed):
        session.like("No such film")
    assert (session.messages, session.history, session.shown) == before


def test_somebody_is_a_user_or_has_a_history(model):
    with pytest.raises(LookupFailed, match="not both"):
        Session(model, user="alice", history=["i0"])
    with pytest.raises(LookupFailed, match="'nobody'"):
        Session(model, user="nobody")
