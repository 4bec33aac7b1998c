"""Questions of all kinds, answered together or alone: what is demanded holds, and a mistake is told before any work."""

from pathlib import Path

import pytest

from ilm import ItemLanguageModel
from ilm.errors import LookupFailed
from ilm.rank.head import HeadRecommender
from tests.ilm.serve.conftest import GENRES, TITLES


@pytest.fixture(scope="module")
def model(model_folder: Path) -> ItemLanguageModel:
    return ItemLanguageModel.from_pretrained(model_folder)


def turns(*words: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(words)]


def titles(items: list) -> list[str]:
    return [item.title for item in items]


def test_answers_do_not_depend_on_who_else_asks(model):
    ask = model.questions
    questions = [
        ask.recommendation(user="alice", k=3),
        ask.conversation(turns("Something old"), user="bob", k=2),
        ask.explanation("i0", user="bob"),
        ask.recommendation(history=["i0", "i1"], k=5, exclude_seen=False),
        ask.conversation(turns("Hello", f"Try {TITLES[6]}.", "Why this one?"), history=["i0", "i1"]),
    ]
    together = model.answer(questions)
    assert model.answer([]) == []
    for number in (0, 1, 3, 4):
        (alone,) = model.answer([questions[number]])
        assert (alone.text, titles(alone.items)) == (together[number].text, titles(together[number].items))
        assert [item.score for item in alone.items] == pytest.approx(
            [i.score for i in together[number].items], abs=1e-4
        )
    (alone,) = model.answer([questions[2]])
    assert together[2].score == pytest.approx(alone.score, abs=1e-4)


def test_filters_and_exclusions_hold_of_a_ranking(model):
    everything = titles(model.rank(history=["i3"], k=99))
    assert set(everything) == {TITLES[index] for index in (0, 1, 2, 4, 6, 7)}
    action = model.rank(history=["i3"], k=99, where={"genres": {"any": ["action"]}, "year": {"from": 1998}})
    assert titles(action) == [title for title in everything if title in (TITLES[1], TITLES[6], TITLES[7])]
    assert "Ronin (1998)" not in titles(model.rank(history=["i3"], k=99, exclude=["ronin (1998)"]))


def test_nothing_that_fits_is_an_empty_list_and_not_a_wrong_one(model):
    assert model.rank(history=["i3"], where={"year": {"from": 2050}}) == []
    reply = model.chat(turns("Something from after 2050"), user="bob")
    assert reply.items == []
    assert reply.text == "Nothing is left that is: from 2051 or later. Ask for less of it at once."


def test_a_mistake_is_told_when_the_question_is_made(model, monkeypatch):
    monkeypatch.setattr(HeadRecommender, "score_examples", lambda *_: pytest.fail("the model was asked"))
    ask = model.questions
    for wrong in (
        lambda: ask.recommendation(user="alice", where={"gender": {"any": ["x"]}}),
        lambda: ask.recommendation(user="alice", exclude=["No such film"]),
        lambda: ask.recommendation(user="alice", k=0),
        lambda: ask.conversation(turns("Hello"), user="alice", history=["i0"]),
        lambda: ask.conversation(turns("Hello"), user="nobody"),
        lambda: ask.conversation(turns("Hello"), k=0),
        lambda: ask.explanation("No such film", user="alice"),
        lambda: ask.explanation("i0"),
    ):
        with pytest.raises(LookupFailed):
            wrong()


def test_what_a_conversation_states_holds_of_every_item(model):
    known = dict(zip(TITLES, GENRES, strict=True))
    for words, holds in {
        "Something from the 90s": lambda title: "(199" in title,
        "older than 1998": lambda title: title in ("Heat (1995)", "Heat (1986)"),
        "Something newer than Heat (1995)": lambda title: title.endswith(("(1998)", "(1999)", "(2003)")),
    }.items():
        reply = model.chat(turns(words), k=99)
        assert reply.items
        assert all(holds(item.title) for item in reply.items), words
        assert reply.constraints
    free = model.chat(turns("I feel like something"), k=99)
    assert {item.title for item in free.items} == {
        title for title in TITLES if known[title] or title.startswith("Twin")
    }
    assert free.constraints == ""


def test_something_older_is_older_than_what_was_answered(model):
    reply = model.chat(
        turns("Hello", "Try Matrix, The (1999). Genres: Action, Sci-Fi.", "Something older, please."), k=99
    )
    assert set(titles(reply.items)) == {"Heat (1995)", "Ronin (1998)", "Heat (1986)"}
    assert reply.constraints == "from 1998 or earlier"


def test_why_is_answered_with_the_history_and_not_with_another_item(model):
    reply = model.chat(
        turns("Hello", "Try Matrix, The (1999).\nOr Ronin (1998).", "Why this one?"), history=["i0", "i7"]
    )
    assert titles(reply.items) == ["Matrix, The (1999)"]
    assert reply.text.startswith("Matrix, The (1999) ")
    named = model.chat(turns("Hello", "Try Matrix, The (1999).", "why Ronin?"), history=["i0", "i7"])
    assert titles(named.items) == ["Ronin (1998)"]
    assert titles(model.chat(turns("Why?"), history=["i0", "i7"], k=2).items) != []
    assert len(model.chat(turns("Hello", "Try Ronin (1998).", "Why not something newer?"), k=2).items) == 2


def test_contributions_are_what_the_score_loses_without_an_item(model):
    explained = model.explain("Matrix, The (1999)", history=["i0", "i7", "i0", "i4"])
    assert titles(explained.history) == [TITLES[7], TITLES[0], TITLES[4]]

    def score(history: list[str]) -> float:
        ranked = model.rank(history=history, k=99, exclude_seen=False)
        return next(item.score for item in ranked if item.item_id == "i6")

    whole = score(["i0", "i7", "i0", "i4"])
    assert explained.score == pytest.approx(whole, abs=1e-4)
    for item, rest in zip(explained.history, (["i0", "i0", "i4"], ["i7", "i4"], ["i0", "i7", "i0"]), strict=True):
        assert item.contribution == pytest.approx(whole - score(rest), abs=1e-3)
    ranked = [item.item_id for item in model.rank(history=["i0", "i7", "i0", "i4"], k=99)]
    assert explained.rank == 1 + ranked.index("i6")


def test_the_nearest_in_words_shares_words_and_an_item_is_nearest_to_itself(model):
    explained = model.explain("Matrix, The (1999)", history=["i7", "i2", "i6"])
    by_title = {item.title: item for item in explained.history}
    assert by_title["Matrix, The (1999)"].text_similarity == pytest.approx(1)
    assert by_title["Matrix, The (1999)"].similarity == pytest.approx(1, abs=1e-5)
    assert by_title["Matrix Reloaded, The (2003)"].text_similarity > by_title["Heat (1986)"].text_similarity == 0
    assert all(-1 <= item.similarity <= 1.00001 for item in explained.history)


def test_a_single_item_cannot_be_left_out_and_long_ago_ones_are_not(model):
    assert [item.contribution for item in model.explain("i0", history=["i1"]).history] == [None]
    long = ["i0", "i1", "i2", "i3", "i4", "i6"]  # the model is shown four
    given = [item.contribution is not None for item in model.explain("i7", history=long).history]
    assert given == [False, False, True, True, True, True]


def test_an_item_is_told_with_its_columns(model):
    found = model.item("ronin (1998)")
    assert found == {
        "item_id": "i1",
        "title": "Ronin (1998)",
        "active": True,
        "genres": "Action, Thriller",
        "cold": False,
    }
    with pytest.raises(LookupFailed, match="Did you mean"):
        model.item("Ronin (1997)")


def test_a_stranger_is_not_looked_for_until_somebody_reads_the_hint(model, monkeypatch):
    looked_for = []
    monkeypatch.setattr(type(model.questions), "_users_like", lambda self, user: looked_for.append(user) or ["alice"])
    with pytest.raises(LookupFailed) as refused:
        model.rank(user="alicia")
    assert looked_for == [], "a search among all users is not for a server's every stranger"
    assert str(refused.value).endswith("Near: alice.")
