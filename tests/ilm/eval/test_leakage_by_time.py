"""With a split by time, nothing before the cut knows what comes after it, and nobody that can be asked is left out."""

from pathlib import Path

import polars as pl
import pytest
from small_logs import with_params

from ilm.cf.factors import load
from ilm.data import schema
from ilm.eval.cases import sizes, train_counts
from ilm.eval.metrics import MISSED
from ilm.eval.summary import slices
from ilm.files import digest
from tasks import cf, ingest, pairs, paths, pretrain, split
from tests.leakage_logs import (
    BY_TIME,
    ITEMS,
    KNOWN,
    LEARNED,
    LENGTH,
    USERS,
    Rows,
    judged,
    logs,
    run,
    sequences,
    tiny_models,
    what_was_learned,
    write,
)  # fmt: skip

LATE = 1_600_000_000 + 3600 * (LENGTH - 1)
"""From here on all of it is the test part, however many rows there are: one moment for all."""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(logs())
    return tmp_path


def with_a_future(*planted: tuple[str, str]) -> Rows:
    return [(user, item, min(at, LATE)) for user, item, at in logs()] + [(*pair, LATE) for pair in planted]


@pytest.mark.parametrize("user", ["u00", "a_new_user"])
@pytest.mark.parametrize("item", ["i03", "a_new_item"])
def test_planted_interaction_after_the_cut_changes_nothing_before_it(user: str, item: str) -> None:
    """With a user or an item that come only then and are the first by name: they get rows of zeros behind the others,
    and not a bit of the others moves."""
    write(with_a_future(), a_new_item="New (2030)")
    run(BY_TIME, ingest, split, cf, pairs)
    tables, before = (paths.USER_IDS, paths.ITEM_IDS), load(paths.CF_FACTORS)
    maps, learned = [pl.read_parquet(path) for path in tables], what_was_learned(*LEARNED[1:])
    candidates = pl.read_parquet(paths.CATALOGUE).filter("active")["item_id"].to_list()

    write(with_a_future((user, item)), a_new_item="New (2030)")
    run(BY_TIME, ingest, split, cf, pairs)

    assert what_was_learned(*LEARNED[1:]) == learned
    assert pl.read_parquet(paths.CATALOGUE).filter("active")["item_id"].to_list() == candidates
    for path, known in zip(tables, maps, strict=True):
        assert pl.read_parquet(path)[: len(known)].equals(known)
    after = load(paths.CF_FACTORS)
    for mine, theirs in ((before.item_factors, after.item_factors), (before.user_factors, after.user_factors)):
        assert theirs[: len(mine)].tobytes() == mine.tobytes()
        assert not theirs[len(mine) :].any()
    assert (len(after.user_factors), len(after.item_factors)) == (USERS + (user != "u00"), ITEMS + (item != "i03"))


def test_encoder_learns_nothing_of_items_and_users_that_come_after_the_cut(tmp_path: Path) -> None:
    """Nor is it standardised or held out by how many there are."""
    by_time = {"strategy": "global_time", "valid_fraction": 0.2}
    params = with_params(cf={"factors": 4, "iterations": 5}, split=by_time, **tiny_models(tmp_path))
    write(with_a_future(), a_new_item="New (2030)")
    run(params, ingest, split, cf, pairs, pretrain)
    before = digest(paths.PRETRAINED / "model.safetensors")

    write(with_a_future(("a_new_user", "a_new_item"), ("u01", "a_new_item")), a_new_item="New (2030)")
    run(params, ingest, split, cf, pairs, pretrain)
    assert digest(paths.PRETRAINED / "model.safetensors") == before


def test_item_met_by_nobody_before_the_cut_is_missed_and_no_case_is_dropped() -> None:
    new, late = f"i{ITEMS - 1:02}", 1_600_000_000 + 3600 * (LENGTH - 1)
    old = f"i{ITEMS - 2:02}"
    write(
        [(user, new if at >= late and item != old else old if item == new else item, at) for user, item, at in logs()]
    )
    run(BY_TIME, ingest, split, cf, pairs)

    cases, rankings = judged(BY_TIME, ["als"])
    missed = cases.targets == ITEMS - 1
    assert 0 < missed.sum() < len(missed) == USERS
    for ranks in (rankings["als"].filtered, rankings["als"].unfiltered):
        assert (ranks[missed] == MISSED).all() and (ranks[~missed] <= ITEMS).all()
    of_als, counts = {"als": {"sequential": rankings["als"]}}, train_counts(sequences(), ITEMS)
    found = slices(of_als, {"sequential": cases}, counts, KNOWN)
    assert found["missed_targets"]["sequential"] == missed.sum()


def test_user_first_met_in_the_valid_part_is_asked_in_the_test_part_and_counted() -> None:
    """Without a vector of their own: what they are recommended comes of their history."""
    write([*logs(), *(("u_fresh", f"i{item:02}", LATE - 10 + item) for item in range(3)), ("u_fresh", "i07", LATE + 1)])
    run(BY_TIME, ingest, split, cf, pairs)
    number = schema.read_table(paths.USER_IDS, schema.USER_IDS)["user_id"].to_list().index("u_fresh")

    cases, rankings = judged(BY_TIME, ["als"])
    place = cases.user_index.tolist().index(number)
    assert not load(paths.CF_FACTORS).user_factors[number].any()
    assert cases.seen[place].tolist() == [0, 1, 2] and cases.targets[place] == 7
    assert rankings["als"].filtered[place] < MISSED
    assert sizes(sequences(), KNOWN, "global_time")["users_without_train"] == 1
