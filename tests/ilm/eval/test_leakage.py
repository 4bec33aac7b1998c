"""Nothing that is learned knows what is held out: the real steps, run on logs that differ in the held-out part only."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_logs import FakeStep, with_params

from ilm.cf.factors import load
from ilm.cf.fold_in import UserFoldIn
from ilm.data import schema
from ilm.eval.metrics import MISSED
from ilm.files import digest, read_json
from ilm.params import Params
from tasks import cf, evaluate, finetune, ingest, pairs, paths, pretrain, split
from tests.tiny import save_language_model, save_text_encoder

USERS, ITEMS, LENGTH = 24, 16, 10
MAPS = (paths.USER_IDS, paths.ITEM_IDS, paths.CATALOGUE)
LEARNED = (paths.CF_FACTORS, paths.ITEM_TEXT_PAIRS, paths.ITEM_ITEM_PAIRS, paths.USER_ITEM_PAIRS)
TITLES = [f"Film {item} (20{item:02})" for item in range(ITEMS)]
RAW = Path("data/raw")
Rows = list[tuple[str, str, int]]


def logs() -> Rows:
    """(user, item, time), all times distinct; in the same hour of every user, so that one moment cuts all."""
    rng = np.random.default_rng(0)
    items = [rng.permutation(ITEMS)[:LENGTH] for _ in range(USERS)]
    return [
        (f"u{user:02}", f"i{items[user][place]:02}", 1_600_000_000 + 3600 * place + 60 * user)
        for user in range(USERS)
        for place in range(LENGTH)
    ]


def write(rows: Rows) -> None:
    RAW.mkdir(parents=True, exist_ok=True)
    table = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    table.write_csv(RAW / "interactions.csv")
    texts = {"item_id": [f"i{item:02}" for item in range(ITEMS)], "title": TITLES}
    pl.DataFrame(texts).write_csv(RAW / "items.csv")


def run(params: Params, *steps: object) -> None:
    for step in steps:
        step.run(FakeStep(params))  # type: ignore[attr-defined]


PARAMS = with_params(cf={"factors": 4, "iterations": 5}, evaluate={"bootstrap_samples": 100})
BY_TIME = with_params(cf={"factors": 4, "iterations": 5}, split={"strategy": "global_time"})


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(logs())
    return tmp_path


def sequences() -> pl.DataFrame:
    return schema.read_table(paths.SEQUENCES, schema.SEQUENCES)


def of_part(part: str) -> pl.DataFrame:
    return sequences().filter(part=part)


def examples(part: str) -> pl.DataFrame:
    return schema.read_table(paths.EXAMPLES, schema.EXAMPLES).filter(split=part)


def popularity() -> list[int]:
    return np.bincount(of_part("train")["item_index"].to_numpy(), minlength=ITEMS).tolist()


def what_was_learned(*files: Path) -> dict[str, object]:
    """By name: bytes of files as digests, and the tables of which only a part is learned."""
    found: dict[str, object] = {str(path): digest(path) for path in files}
    tables = {"train part": of_part("train"), "train examples": examples("train")}
    return found | {name: table.rows() for name, table in tables.items()} | {"popularity": popularity()}


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
    small = {
        "model": {"text_encoder": str(save_text_encoder(tmp_path / "bert")),
                  "llm": str(save_language_model(tmp_path / "llama")), "layers": 2, "queries": 2, "cf_tokens": 2},
        "pretrain": {"recipe": "IT-II-UI", "steps": 2, "batch_size": 6, "paired_rows": 3, "interaction_batch_size": 8,
                     "warmup": 1, "max_text_tokens": 16},
        "finetune": {"steps": 2, "context_epochs": 1, "warmup": 1},
    }  # fmt: skip
    params = with_params(cf={"factors": 4, "iterations": 5}, pairs={"max_history": 4}, **small)
    run(params, ingest, split, cf, pairs, pretrain, finetune)
    before = weights()

    write(with_another_future(logs(), first=LENGTH - 2))
    run(params, ingest, split, cf, pairs, pretrain, finetune)
    assert weights() == before

    write(with_another_future(logs(), first=LENGTH - 3))
    run(params, ingest, split, cf, pairs, pretrain, finetune)
    assert not set(weights()) & set(before), "one place earlier is training, and must show"


class KnowsNothing:
    """Stands in for the Item-Language Model."""

    def score(self, task: str, histories: Sequence[np.ndarray]) -> np.ndarray:
        return np.zeros((len(histories), ITEMS), np.float32)


def test_what_follows_the_held_out_item_changes_no_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Popularity, ALS and the removal of seen items know what came before the target and nothing after it."""
    monkeypatch.setattr("ilm.rank.head.load_recommender", lambda model, factors, batch_size: KnowsNothing())
    run(PARAMS, ingest, split, cf, pairs, evaluate)
    before = digest(paths.SCORES)

    schema.write_table(planted("test"), paths.SEQUENCES)
    run(PARAMS, cf, pairs, evaluate)

    assert digest(paths.SCORES) == before


def test_item_met_by_nobody_before_the_cut_is_missed_and_no_case_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ilm.rank.head.load_recommender", lambda model, factors, batch_size: KnowsNothing())
    new, late = f"i{ITEMS - 1:02}", 1_600_000_000 + 3600 * (LENGTH - 1)
    old = f"i{ITEMS - 2:02}"
    write(
        [(user, new if at >= late and item != old else old if item == new else item, at) for user, item, at in logs()]
    )
    params = with_params(cf={"factors": 4}, split={"strategy": "global_time"}, evaluate={"bootstrap_samples": 100})
    run(params, ingest, split, cf, pairs, evaluate)

    ranks = pl.read_parquet(paths.SCORES).filter(system="als", task="sequential")
    missed = ranks.filter(target=ITEMS - 1)
    assert 0 < missed.height < ranks.height == USERS
    assert set(missed["rank_filtered"]) == set(missed["rank_unfiltered"]) == {MISSED}
    assert read_json(paths.METRICS)["slices"]["missed_targets"]["sequential"] == missed.height


def renamed(name: str) -> str:
    """Another user's name: the order of names is not the order of anything."""
    return f"u{(int(name[1:]) * 7 + 5) % USERS:02}"


def of_users(read: Callable[[], pl.DataFrame]) -> dict[str, list[tuple[object, ...]]]:
    """User name -> their rows, without the index."""
    names = schema.read_table(paths.USER_IDS, schema.USER_IDS)
    named = read().join(names, on="user_index", maintain_order="left")
    groups = named.drop("user_index").group_by("user_id", maintain_order=True)
    return {str(user): rows.drop("user_id").rows() for (user,), rows in groups}


def scores() -> dict[str, np.ndarray]:
    """User name -> ALS scores of all items, folded in from the train part."""
    factors = load(paths.CF_FACTORS)
    fold_in = UserFoldIn(factors.item_factors, factors.regularization, factors.alpha)
    names = schema.read_table(paths.USER_IDS, schema.USER_IDS)["user_id"].to_list()
    histories = [of_part("train").filter(user_index=user)["item_index"].to_numpy() for user in range(USERS)]
    return dict(zip(names, fold_in(histories) @ factors.item_factors.T, strict=True))


def test_names_of_users_carry_no_order() -> None:
    """Users swap names: everybody keeps their history, pairs, examples and scores under the new name. ALS starts at
    random vectors in the order of the names, hence enough iterations for the start not to matter."""
    params = with_params(cf={"factors": 4, "iterations": 300})
    run(params, ingest, split, cf, pairs)
    tables: list[Callable[[], pl.DataFrame]] = [
        sequences,
        lambda: schema.read_table(paths.USER_ITEM_PAIRS, schema.USER_ITEM),
        lambda: examples("train").filter(task="sequential"),  # of "straightforward", each user draws some positions
        lambda: examples("valid"),
        lambda: examples("test"),
    ]
    before, counts, of_items = [of_users(table) for table in tables], popularity(), digest(paths.ITEM_ITEM_PAIRS)
    old = scores()

    write([(renamed(user), item, at) for user, item, at in logs()])
    run(params, ingest, split, cf, pairs)

    for table, rows in zip(tables, before, strict=True):
        assert of_users(table) == {renamed(user): mine for user, mine in rows.items()}
    assert popularity() == counts
    assert digest(paths.ITEM_ITEM_PAIRS) == of_items
    new = scores()
    for user, mine in old.items():
        np.testing.assert_allclose(new[renamed(user)], mine, atol=1e-3)


def test_order_of_the_file_says_nothing() -> None:
    """Indexes follow the names, not who or what came first: numbers in order of appearance would tell the target."""
    run(PARAMS, ingest, split, cf, pairs)
    files = (*MAPS, *LEARNED, paths.SEQUENCES, paths.EXAMPLES)
    before = what_was_learned(*files)

    rows = logs()
    write([rows[place] for place in np.random.default_rng(1).permutation(len(rows))])
    run(PARAMS, ingest, split, cf, pairs)

    assert what_was_learned(*files) == before
