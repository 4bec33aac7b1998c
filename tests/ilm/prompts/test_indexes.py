"""OpenP5's index strings, and which names a model answers with."""

import numpy as np

from ilm.prompts.indexes import random_indexes, sequential_indexes, spoken_names

TRAIN = [np.array(items, np.int32) for items in ([4, 2, 4], [2, 0])]


def test_random_indexes_are_a_permutation_from_1001_and_the_same_for_the_same_seed():
    indexes = random_indexes(50, seed=3)
    assert sorted(map(int, indexes)) == list(range(1001, 1051))
    assert indexes == random_indexes(50, seed=3) != random_indexes(50, seed=4)


def test_sequential_indexes_follow_the_first_occurrence_in_training_and_then_the_rest():
    assert sequential_indexes(TRAIN, items=6) == ["1003", "1004", "1002", "1005", "1001", "1006"]


def test_with_a_seed_items_are_called_by_random_indexes_and_without_by_their_titles():
    titles = ["Heat (1995)", "Ronin (1998)", "Speed (1994)"]
    assert spoken_names(titles, None) == titles
    assert spoken_names(titles, 7) == [f"item_{index}" for index in random_indexes(3, 7)]
    assert set(spoken_names(titles, 7)) == {"item_1001", "item_1002", "item_1003"}
