"""Templates become words and soft tokens, and values are never read as templates."""

from ilm.prompts.example import USER, Item, fill


def test_words_are_joined_and_soft_tokens_stand_between_them():
    found = fill("I liked {items} and {name}, {user}.", items=[Item(1), Item(2)], name="tea", user=USER)
    assert found == ("I liked", Item(1), Item(2), " and tea,", USER, ".")


def test_a_value_with_braces_stays_words():
    assert fill("Try {title}.", title="{user} {0}") == ("Try {user} {0}.",)


def test_a_value_may_hold_words_and_soft_tokens_itself():
    assert fill("Something{like}.", like=(" like", Item(3))) == ("Something like", Item(3), ".")


def test_empty_words_leave_no_piece():
    assert fill("{nothing}{item}{nothing}", nothing="", item=Item(4)) == (Item(4),)
