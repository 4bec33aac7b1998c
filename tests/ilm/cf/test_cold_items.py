"""Vectors from words: the closed form against scikit-learn's, known answers, and nothing to learn from."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from ilm.cf.cold_items import PLACES, TextMap, _places
from ilm.errors import DataError

TEXTS = [
    "Heat 1995 Action Crime",
    "Ronin 1998 Action Thriller",
    "Fun 1990 Comedy",
    "More Fun 1991 Comedy",
    "Sad Drama 1992",
]
RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(5, 3)).astype(np.float32)


def features(texts: list[str], among: list[str]) -> np.ndarray:
    counts, rest = (np.array([np.isin(np.arange(PLACES), _places(text)) for text in of]) for of in (among, texts))
    weighted = rest * (np.log((1 + len(among)) / (1 + counts.sum(axis=0))) + 1)
    return np.asarray(weighted / np.linalg.norm(weighted, axis=1, keepdims=True))


def test_it_is_the_ridge_regression_of_scikit_learn() -> None:
    found = TextMap(TEXTS, VECTORS, ridge=0.7)(["Action 1995", "Comedy"])
    mean = VECTORS.mean(axis=0, dtype=np.float64)
    other = Ridge(alpha=0.7, fit_intercept=False).fit(features(TEXTS, TEXTS), VECTORS - mean)
    np.testing.assert_allclose(found, other.predict(features(["Action 1995", "Comedy"], TEXTS)) + mean, atol=1e-5)


def test_items_with_the_words_of_a_group_lie_near_the_group() -> None:
    texts = [f"film {n} {'comedy' if n % 2 else 'horror'}" for n in range(40)]
    vectors = np.array([[1.0, 0.0] if n % 2 else [0.0, 1.0] for n in range(40)], np.float32)
    (comedy, horror) = TextMap(texts, vectors)(["new comedy", "new horror"])
    assert comedy[0] > 0.6 > 0.4 > comedy[1] and horror[1] > 0.6 > 0.4 > horror[0]


def test_items_without_interactions_teach_nothing() -> None:
    padded = np.concatenate([VECTORS, np.zeros((1, 3), np.float32)])
    found = TextMap([*TEXTS, "Unmet Comedy"], padded)(["Comedy"])
    np.testing.assert_array_equal(found, TextMap(TEXTS, VECTORS)(["Comedy"]))


def test_without_a_word_it_is_the_mean_item() -> None:
    np.testing.assert_allclose(TextMap(TEXTS, VECTORS)([""])[0], VECTORS.mean(axis=0), atol=1e-6)


def test_without_any_vector_there_is_nothing_to_learn_from() -> None:
    with pytest.raises(DataError, match="no item has a CF vector"):
        TextMap(TEXTS, np.zeros((5, 3), np.float32))
