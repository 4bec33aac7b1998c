"""A model against the holdout: what it cannot know it misses, and how it numbers its items does not matter."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ilm.data import schema
from ilm.eval.metrics import MISSED
from ilm.gate.holdout import Holdout, fresh_holdout
from ilm.gate.scoring import ranked
from ilm.params import Params
from tests.ilm.gate.conftest import CUT, event, gate, write_log

WORTH = {"a": 5.0, "b": 4.0, "c": 3.0, "d": 2.0, "e": 1.0}


class ByWorth:
    """Scores every item by its id alone, and remembers the histories that it was shown."""

    def __init__(self, catalogue: pl.DataFrame) -> None:
        self.row = np.array([WORTH[item] for item in catalogue["item_id"]], np.float32)
        self.shown: list[list[int]] = []

    def score(self, task: str, histories: Sequence[np.ndarray]) -> np.ndarray:
        assert task == "sequential"
        self.shown += [history.tolist() for history in histories]
        return np.tile(self.row, (len(histories), 1))


def catalogue(ids: str, inactive: str = "", untitled: str = "") -> pl.DataFrame:
    """Items in this order."""
    rows = [(n, item, "" if item in untitled else f"Film {item}", item not in inactive) for n, item in enumerate(ids)]
    return pl.DataFrame(rows, schema=dict(schema.CATALOGUE), orient="row")


@pytest.fixture
def holdout(tmp_path: Path) -> Holdout:
    """Targets c, e and a; a is met twice before the cut, b three times, c and d once, e never.
    x does not come back."""
    events = [
        event("u", "b", -1), event("u", "c", 1),
        event("v", "a", -2), event("v", "b", -1), event("v", "e", 1),
        event("w", "d", -4), event("w", "c", -3), event("w", "b", -2), event("w", "a", 1), event("x", "a", -1),
    ]  # fmt: skip
    return fresh_holdout(write_log(tmp_path / "log.parquet", events), CUT, gate())


def params(**sections: Any) -> Params:
    return Params.model_validate({"split": {"min_item_interactions": 1}} | sections)


def judged(holdout: Holdout, table: pl.DataFrame, settings: Params, current: str = "abcde") -> Any:
    return ranked(ByWorth(table), table, holdout, frozenset(current), settings, "model")


def test_ranks_are_among_unseen_items_that_were_met_before_the_cut(holdout: Holdout) -> None:
    scores, ranks = judged(holdout, catalogue("abcde"), params())
    # u has seen b: a, c, d; v misses e, which nobody had met; w has seen b, c, d: only a
    assert ranks.tolist() == [2, MISSED, 1]
    np.testing.assert_allclose(scores.metrics["ndcg_at_10"], [1 / np.log2(3), 0.0, 1.0])
    assert scores.users == ["u", "v", "w"]


def test_the_numbering_of_the_catalogue_does_not_matter(holdout: Holdout) -> None:
    first, again = (judged(holdout, catalogue(ids), params()) for ids in ("abcde", "edcba"))
    assert first[1].tolist() == again[1].tolist()
    assert first[0].coverage == again[0].coverage


@pytest.mark.parametrize(("ids", "inactive"), [("abde", ""), ("abcde", "c")])
def test_items_that_a_model_does_not_know_are_misses_and_not_shown(holdout: Holdout, ids: str, inactive: str) -> None:
    table = catalogue(ids, inactive)
    model = ByWorth(table)
    _, ranks = ranked(model, table, holdout, frozenset("abcde"), params(), "model")
    assert ranks.tolist() == [MISSED, MISSED, 1]
    shown = [[ids[item] for item in history] for history in model.shown]
    assert shown == [["b"], ["a", "b"], ["d", "b"]]


def test_a_user_of_whom_a_model_knows_nothing_is_asked_with_an_empty_history(holdout: Holdout) -> None:
    table = catalogue("cd")
    model = ByWorth(table)
    _, ranks = ranked(model, table, holdout, frozenset("abcde"), params(), "model")
    assert model.shown == [[], [], [1, 0]]
    assert ranks.tolist() == [1, MISSED, MISSED]


def test_items_too_rare_at_the_cut_are_no_candidates(holdout: Holdout) -> None:
    """A catalogue chosen later may hold what became frequent after the cut: to know that is no merit."""
    settings = Params.model_validate({"split": {"min_item_interactions": 2}})
    _, ranks = judged(holdout, catalogue("abcde"), settings)
    assert ranks.tolist() == [MISSED, MISSED, 1]


def test_histories_are_cut_to_the_profile_and_all_seen_items_are_left_out(holdout: Holdout) -> None:
    table = catalogue("abcde")
    model = ByWorth(table)
    settings = params(pairs={"max_profile": 1})
    _, ranks = ranked(model, table, holdout, frozenset("abcde"), settings, "model")
    assert model.shown == [[1], [1], [1]] and ranks.tolist() == [2, MISSED, 1]


def test_coverage_is_the_share_of_what_could_be_known(holdout: Holdout) -> None:
    """Of a, b, c and d; b is listed for nobody, because everybody has seen it."""
    assert judged(holdout, catalogue("abcde"), params())[0].coverage == 0.75
    assert judged(holdout, catalogue("ab"), params())[0].coverage == 0.25


def test_rare_targets_are_marked_the_same_for_every_model(holdout: Holdout) -> None:
    settings = params(gate={"cold_interactions": 1})
    for table in (catalogue("abcde"), catalogue("ab")):
        assert judged(holdout, table, settings)[0].rare_targets.tolist() == [1, 0, 0]  # e was never met: no model's


def test_items_that_are_gone_or_have_no_title_are_invalid(holdout: Holdout) -> None:
    assert judged(holdout, catalogue("abcde"), params())[0].invalid_items == 0
    assert judged(holdout, catalogue("abcde"), params(), current="abce")[0].invalid_items == 1
    assert judged(holdout, catalogue("abcde", untitled="ad"), params(), current="abce")[0].invalid_items == 2


def test_a_users_value_is_the_mean_over_the_targets_and_over_the_rare_ones_of_them(tmp_path: Path) -> None:
    """u is asked for b, c and d, of which c and d are rare; v for a alone. Ranks 1, 1, 1 (of what is left) and 1; with
    d unknown, u has two of three."""
    old = [
        event("x", item, -day) for item, days in (("a", 3), ("b", 3), ("c", 1), ("d", 1)) for day in range(1, days + 1)
    ]
    mine = [event("u", "a", -9), event("u", "b", 1), event("u", "c", 2), event("u", "d", 3)]
    other = [event("v", "b", -9), event("v", "a", 1)]
    log = write_log(tmp_path / "log.parquet", old + mine + other)
    holdout = fresh_holdout(log, CUT, gate(targets=3))
    settings = params(gate={"cold_interactions": 1})

    scores, ranks = judged(holdout, catalogue("abcd"), settings)
    assert (scores.users, ranks.tolist()) == (["u", "v"], [1, 1, 1, 1])
    assert scores.rare_targets.tolist() == [2, 0]

    scores, ranks = judged(holdout, catalogue("abc"), settings)
    assert ranks.tolist() == [1, 1, MISSED, 1]
    np.testing.assert_allclose(scores.metrics["hr_at_10"], [2 / 3, 1])
    np.testing.assert_allclose(scores.rare_metrics["hr_at_10"], [1 / 2, 0])
