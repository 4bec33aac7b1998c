"""What every baseline must do, listed once: fit the protocol, and treat each history by itself."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ilm.baselines.als import Als
from ilm.baselines.item_knn import ItemKnn
from ilm.baselines.popularity import Popularity
from ilm.baselines.recent_items import RecentItems
from ilm.baselines.sasrec import SasRec, SasRecSizes
from ilm.cf.als import fit
from ilm.cf.factors import Factors
from ilm.errors import DataError
from ilm.eval.metrics import MISSED
from ilm.eval.protocol import Cases, Recommender, target_ranks
from ilm.params import CfParams

USERS, ITEMS = 15, 11
TRAIN = [np.random.default_rng(user).permutation(ITEMS - 1)[:6].astype(np.int32) for user in range(USERS)]
"""Nobody has the last item."""
COUNTS = np.bincount(np.concatenate(TRAIN), minlength=ITEMS)


def factors() -> Factors:
    users, items = np.repeat(np.arange(USERS, dtype=np.int32), 6), np.concatenate(TRAIN)
    params = CfParams(factors=4, iterations=3)
    fitted = fit(users, items, n_users=USERS, n_items=ITEMS, params=params, item_map_hash="i", user_map_hash="u")
    return fitted.factors


def sasrec() -> SasRec:
    torch.manual_seed(0)
    return SasRec(ITEMS, SasRecSizes(width=8, heads=2, layers=2, max_length=4)).eval()


BASELINES: dict[str, Callable[[], Recommender]] = {
    "popularity": lambda: Popularity(COUNTS),
    "als": lambda: Als(factors()),
    "item-knn": lambda: ItemKnn(TRAIN, ITEMS, neighbours=3),
    "recent-items": lambda: RecentItems(factors().item_factors, COUNTS),
    "sasrec": sasrec,
}
every = pytest.mark.parametrize("name", BASELINES)
reading = pytest.mark.parametrize("name", [name for name in BASELINES if name != "popularity"])
HISTORIES = [np.array(items, np.int32) for items in ([1, 2, 3], [], [4], [7, 1, 0, 5, 2, 9])]


@every
def test_scores_are_finite_float32_for_every_item_and_also_for_an_empty_history(name: str) -> None:
    scores = BASELINES[name]().score("sequential", HISTORIES)
    assert (scores.shape, scores.dtype) == ((len(HISTORIES), ITEMS), np.float32)
    assert np.isfinite(scores).all()


@every
def test_row_does_not_depend_on_the_rest_of_the_batch(name: str) -> None:
    system = BASELINES[name]()
    together = system.score("sequential", HISTORIES)
    alone = np.concatenate([system.score("sequential", [history]) for history in HISTORIES])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


@every
def test_histories_are_left_as_they_were(name: str) -> None:
    before = [history.copy() for history in HISTORIES]
    BASELINES[name]().score("sequential", HISTORIES)
    assert all(np.array_equal(*pair) for pair in zip(before, HISTORIES, strict=True))


@every
def test_equal_training_gives_equal_scores(name: str) -> None:
    first, second = (BASELINES[name]().score("sequential", HISTORIES) for _ in range(2))
    assert np.array_equal(first, second)


@every
def test_protocol_ranks_with_it_and_keeps_inactive_items_out(name: str) -> None:
    shown = [TRAIN[0][:5], TRAIN[1][:5]]
    targets = np.array([TRAIN[0][5], ITEMS - 1], np.int32)
    cases = Cases(np.arange(2, dtype=np.int32), targets, shown, shown)
    candidates = np.arange(ITEMS) < ITEMS - 1
    ranking = target_ranks(BASELINES[name](), "sequential", cases, candidates, 2)
    assert 1 <= ranking.filtered[0] <= 5
    assert ranking.filtered[1] == MISSED
    assert ITEMS - 1 not in ranking.top


@reading
@pytest.mark.parametrize("wrong", [-1, ITEMS])
def test_item_outside_the_catalogue_is_refused(name: str, wrong: int) -> None:
    with pytest.raises(DataError, match=f"item_index {wrong} is outside"):
        BASELINES[name]().score("sequential", [np.array([0, wrong], np.int32)])
