import numpy as np

from ilm.eval.protocol import TOP, Ranking
from ilm.eval.seen_unseen import seen_and_unseen


def ranking(*ranks: int) -> Ranking:
    filtered = np.array(ranks, np.int32)
    return Ranking(filtered, filtered + 10, np.full((len(ranks), TOP), -1, np.int32))


def test_both_wordings_and_their_difference_stand_side_by_side() -> None:
    seen, unseen = {"sequential": ranking(1, 2, 30, 4)}, {"sequential": ranking(1, 20, 30, 40)}
    found = seen_and_unseen(seen, unseen, samples=200, seed=0)["sequential"]
    assert found["seen"]["filtered"]["hr_at_10"] == 0.75
    assert found["unseen"]["filtered"]["hr_at_10"] == 0.25
    assert found["seen"]["unfiltered"]["hr_at_10"] == 0.0
    test = found["seen_minus_unseen"]["filtered"]["hr_at_10"]
    assert test["difference"] == 0.5
    assert 0 < test["p_value"] <= 1
