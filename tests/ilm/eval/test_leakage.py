"""Nothing that is learned knows what is held out: the real steps, run on logs that differ in the held-out part only."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_logs import with_params

from ilm.cf.factors import load
from ilm.data import schema
from ilm.files import digest
from ilm.params import Params
from tasks import cf, finetune, ingest, pairs, paths, pretrain, split
from tests.leakage_logs import (
    BY_TIME,
    ITEMS,
    LEARNED,
    LENGTH,
    MAPS,
    PARAMS,
    USERS,
    Rows,
    examples,
    judged,
    logs,
    popularity,
    run,
    sequences,
    tiny_models,
    what_was_learned,
    write,
)  # fmt: skip


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(logs())
    return tmp_path


def planted(part: str) -> pl.DataFrame:
    """The sequences with two more items of every third user at the end of a part, never met by that user before."""
    rows = []
    for (user,), history in sequences().group_by("user_index", maintain_order=True):
        new = sorted(set(range(ITEMS)) - set(history["item_index"]))[:2] if user % 3 == 0 else []
        parts = [(item, name) for item, name in history.select("item_index", "part").iter_rows()]
        end = max(place for place, (_, name) in enumerate(parts) if name == part) + 1
        parts[end:end] = [(item, part) for item in new]
        rows += [(user, place, item, name) for place, (item, name) in enumerate(parts)]
    return pl.DataFrame(rows, schema=dict(schema.SEQUENCES), orient="row")


@pytest.mark.parametrize("part", ["valid", "test"])
def test_planted_future_interaction_changes_nothing_that_is_learned(part: str) -> None:
    run(PARAMS, ingest, split, cf, pairs)
    before, shown = what_was_learned(*MAPS, *LEARNED), examples("test").rows()

    schema.write_table(planted(part), paths.SEQUENCES)
    run(PARAMS, cf, pairs)

    assert what_was_learned(*MAPS, *LEARNED) == before
    assert (examples("test").rows() != shown) == (part == "valid"), "a test user is shown valid items, no later ones"


def test_the_same_interaction_in_the_train_part_changes_all_of_it() -> None:
    """That the test above can fail: what it compares does depend on interactions."""
    run(PARAMS, ingest, split, cf, pairs)
    before = what_was_learned(*LEARNED)

    schema.write_table(planted("train"), paths.SEQUENCES)
    run(PARAMS, cf, pairs)

    after = what_was_learned(*LEARNED)
    assert [name for name in before if before[name] == after[name]] == [str(paths.ITEM_TEXT_PAIRS)]


def with_another_future(rows: Rows, first: int) -> Rows:
    """From the `first` place of a history on, every user does something else with items that they did not meet."""
    changed = []
    for user in range(USERS):
        mine = rows[user * LENGTH : (user + 1) * LENGTH]
        others = sorted({f"i{item:02}" for item in range(ITEMS)} - {item for _, item, _ in mine}, reverse=True)
        new = iter(others)
        changed += [(name, next(new) if place >= first else item, at) for place, (name, item, at) in enumerate(mine)]
    return changed


@pytest.mark.parametrize("params", [PARAMS, BY_TIME], ids=["leave_one_out", "global_time"])
def test_what_users_did_last_is_unknown_to_every_step(params: Params) -> None:
    """From the raw logs on: ids, catalogue, CF vectors, pairs, training examples and popularity."""
    run(params, ingest, split, cf, pairs)
    before, targets = what_was_learned(*MAPS, *LEARNED), examples("test")["target"].to_list()
    held_out = 1 + min(sequences().filter(pl.col("part") != "train")["position"])
    assert held_out == LENGTH - 1

    write(with_another_future(logs(), first=LENGTH - 2))
    run(params, ingest, split, cf, pairs)

    assert what_was_learned(*MAPS, *LEARNED) == before
    assert not set(enumerate(examples("test")["target"])) & set(enumerate(targets))


def weights() -> list[str]:
    return [digest(folder / "model.safetensors") for folder in (paths.PRETRAINED, paths.FINETUNED)]


def test_models_learn_nothing_from_held_out_interactions(tmp_path: Path) -> None:
    """Both training stages, with all that they are started and standardised by: equal weights, to the byte."""
    params = with_params(cf={"factors": 4, "iterations": 5}, pairs={"max_history": 4}, **tiny_models(tmp_path))
    run(params, ingest, split, cf, pairs, pretrain, finetune)
    before = weights()

    write(with_another_future(logs(), first=LENGTH - 2))
    run(params, ingest, split, cf, pairs, pretrain, finetune)
    assert weights() == before

    write(with_another_future(logs(), first=LENGTH - 3))
    run(params, ingest, split, cf, pairs, pretrain, finetune)
    assert not set(weights()) & set(before), "one place earlier is training, and must show"


def test_what_follows_the_held_out_item_changes_no_rank() -> None:
    """Baselines and the removal of seen items know what came before the target and nothing after it."""
    systems = ("popularity", "als", "item-knn", "recent-items")
    run(PARAMS, ingest, split, cf, pairs)
    cases, before = judged(PARAMS, systems)

    schema.write_table(planted("test"), paths.SEQUENCES)
    run(PARAMS, cf, pairs)

    assert len(cases.targets) == USERS
    for name, after in judged(PARAMS, systems)[1].items():
        for part in ("filtered", "unfiltered", "top"):
            assert np.array_equal(getattr(before[name], part), getattr(after, part)), (name, part)


def renamed(name: str) -> str:
    """Another user's name: the order of names is not the order of anything."""
    return f"u{(int(name[1:]) * 7 + 5) % USERS:02}"


def of_users(read: Callable[[], pl.DataFrame]) -> dict[str, list[tuple[object, ...]]]:
    """User name -> their rows, without the index."""
    names = schema.read_table(paths.USER_IDS, schema.USER_IDS)
    named = read().join(names, on="user_index", maintain_order="left")
    groups = named.drop("user_index").group_by("user_id", maintain_order=True)
    return {str(user): rows.drop("user_id").rows() for (user,), rows in groups}


def vectors() -> dict[str, bytes]:
    """User name -> their ALS vector."""
    names = schema.read_table(paths.USER_IDS, schema.USER_IDS)["user_id"].to_list()
    return {name: row.tobytes() for name, row in zip(names, load(paths.CF_FACTORS).user_factors, strict=True)}


def test_names_of_users_carry_no_order() -> None:
    """Users swap names: everybody keeps their history, pairs, examples and, to the bit, ALS vectors."""
    run(PARAMS, ingest, split, cf, pairs)
    tables: list[Callable[[], pl.DataFrame]] = [
        sequences,
        lambda: schema.read_table(paths.USER_ITEM_PAIRS, schema.USER_ITEM),
        lambda: examples("train").filter(task="sequential"),  # of "straightforward", each user draws some positions
        lambda: examples("valid"),
        lambda: examples("test"),
    ]
    before, counts, of_items = [of_users(table) for table in tables], popularity(), digest(paths.ITEM_ITEM_PAIRS)
    old, of_all = vectors(), load(paths.CF_FACTORS).item_factors.tobytes()

    write([(renamed(user), item, at) for user, item, at in logs()])
    run(PARAMS, ingest, split, cf, pairs)

    for table, rows in zip(tables, before, strict=True):
        assert of_users(table) == {renamed(user): mine for user, mine in rows.items()}
    assert popularity() == counts
    assert digest(paths.ITEM_ITEM_PAIRS) == of_items
    assert load(paths.CF_FACTORS).item_factors.tobytes() == of_all
    assert vectors() == {renamed(user): mine for user, mine in old.items()}


def test_order_of_the_file_says_nothing() -> None:
    """Indexes follow the names, not who or what came first: numbers in order of appearance would tell the target."""
    run(PARAMS, ingest, split, cf, pairs)
    files = (*MAPS, *LEARNED, paths.SEQUENCES, paths.EXAMPLES)
    before = what_was_learned(*files)

    rows = logs()
    write([rows[place] for place in np.random.default_rng(1).permutation(len(rows))])
    run(PARAMS, ingest, split, cf, pairs)

    assert what_was_learned(*files) == before
