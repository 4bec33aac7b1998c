"""Names of items: whole titles and OpenP5's index strings, each with its end."""

import numpy as np

from ilm.rank.names import index_names, random_indexes, sequential_indexes, title_names
from ilm.rank.trie import build_trie

TRAIN = [np.array(items, np.int32) for items in ([4, 2, 4], [2, 0])]


def test_a_title_is_said_whole_with_a_space_before_and_the_end_behind(language_model):
    title = "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb (1964)"
    (name,) = title_names(language_model, [title])
    assert language_model.tokenizer.decode(name[:-1]) == " " + title
    assert name[-1] == language_model.tokenizer.eos_token_id


def test_a_title_that_spells_an_end_token_still_makes_a_name_with_one_end(language_model):
    end = language_model.tokenizer.eos_token
    names = title_names(language_model, [f"The {end}", f"{end}{end} Strikes Back"])
    assert build_trie(names, language_model.tokenizer.eos_token_id).items == 2


def test_an_index_name_is_openp5s_target(language_model):
    (name,) = index_names(language_model, "ML1M", ["1007"])
    assert language_model.tokenizer.decode(name[:-1]) == " ML1M item_1007"


def test_random_indexes_are_a_permutation_from_1001_and_the_same_for_the_same_seed():
    indexes = random_indexes(50, seed=3)
    assert sorted(map(int, indexes)) == list(range(1001, 1051))
    assert indexes == random_indexes(50, seed=3) != random_indexes(50, seed=4)


def test_sequential_indexes_follow_the_first_occurrence_in_training_and_then_the_rest():
    assert sequential_indexes(TRAIN, items=6) == ["1003", "1004", "1002", "1005", "1001", "1006"]
