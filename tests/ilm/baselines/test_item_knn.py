"""Item-kNN: cosines by hand, neighbours, and agreement with `implicit`'s own scores."""

import numpy as np
import pytest
from implicit.nearest_neighbours import CosineRecommender
from scipy.sparse import csr_matrix

from ilm.baselines.item_knn import ItemKnn


def lists(*rows: list[int]) -> list[np.ndarray]:
    return [np.array(row, np.int32) for row in rows]


TRAIN = lists([0, 1], [0, 1, 2], [1, 0], [2, 3])
"""Users of item 0: a b c; of 1: a b c; of 2: b d; of 3: d; of 4: none."""


def test_score_is_the_sum_of_cosines_to_the_items_of_the_history() -> None:
    scores = ItemKnn(TRAIN, n_items=5).score("sequential", lists([0], [3, 0]))
    to_item_0 = [0, 1, 1 / 6**0.5, 0, 0]
    to_item_3 = [0, 0, 1 / 2**0.5, 0, 0]
    np.testing.assert_allclose(scores, [to_item_0, np.add(to_item_0, to_item_3)], rtol=1e-6)


def test_an_item_lends_similarity_to_its_nearest_neighbours_only() -> None:
    scores = ItemKnn(TRAIN, n_items=5, neighbours=1).score("sequential", lists([0]))
    np.testing.assert_allclose(scores, [[0, 1, 0, 0, 0]], rtol=1e-6)


def test_order_and_repetitions_do_not_matter() -> None:
    knn = ItemKnn(TRAIN, n_items=5)
    assert np.array_equal(knn.score("", lists([0, 2])), knn.score("", lists([2, 0, 2])))


def random_logs(users: int, items: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.choice(items, size=rng.integers(2, 9), replace=False).astype(np.int32) for _ in range(users)]


@pytest.mark.filterwarnings("ignore:Method expects CSR input")
def test_scores_are_those_of_implicit_but_for_an_item_being_its_own_neighbour() -> None:
    logs, items = random_logs(40, 30), 30
    rows, columns = np.repeat(np.arange(40), [len(log) for log in logs]), np.concatenate(logs)
    user_items = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(40, items))
    theirs = CosineRecommender(K=8)
    theirs.fit(user_items, show_progress=False)
    scores = ItemKnn(logs, items, neighbours=7).score("", logs)
    for user, log in enumerate(logs):
        expected = np.zeros(items)
        listed, values = theirs.recommend(user, user_items[user], N=items, filter_already_liked_items=False)
        expected[listed] = values
        expected[log] -= 1.0
        np.testing.assert_allclose(scores[user], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_neighbours_do_not_depend_on_the_number_of_threads(threads: int) -> None:
    logs = random_logs(200, 60)
    expected = ItemKnn(logs, 60, neighbours=5, threads=3).score("", logs)
    assert np.array_equal(ItemKnn(logs, 60, neighbours=5, threads=threads).score("", logs), expected)
