"""Names of items as tokens: whole, each with its end."""

from ilm.rank.names import name_tokens
from ilm.rank.trie import build_trie


def test_a_title_is_said_whole_with_a_space_before_and_the_end_behind(language_model):
    title = "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb (1964)"
    (name,) = name_tokens(language_model, [title])
    assert language_model.tokenizer.decode(name[:-1]) == " " + title
    assert name[-1] == language_model.tokenizer.eos_token_id


def test_a_title_that_spells_an_end_token_still_makes_a_name_with_one_end(language_model):
    end = language_model.tokenizer.eos_token
    names = name_tokens(language_model, [f"The {end}", f"{end}{end} Strikes Back"])
    assert build_trie(names, language_model.tokenizer.eos_token_id).items == 2
