"""Step `split`: maps that last, a catalogue, histories in parts."""

from pathlib import Path

import polars as pl
import pytest
from small_logs import HISTORY, ITEMS, USERS, FakeStep, with_params, write_logs

from ilm.data import schema
from ilm.errors import ArtifactError, DataError
from ilm.files import read_json
from tasks import ingest, paths, split

OUTPUTS = (paths.USER_IDS, paths.ITEM_IDS, paths.CATALOGUE, paths.SEQUENCES, paths.SPLIT)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_logs(tmp_path / "data/raw")
    ingest.run(FakeStep())
    return tmp_path


def keep_maps() -> None:
    """Make this generation's maps the previous ones."""
    for path in (paths.USER_IDS, paths.ITEM_IDS):
        paths.PREVIOUS.mkdir(parents=True, exist_ok=True)
        (paths.PREVIOUS / path.name).write_bytes(path.read_bytes())


def catalogue() -> pl.DataFrame:
    return schema.read_table(paths.CATALOGUE, schema.CATALOGUE, with_text=True)


def test_every_user_has_one_test_item_one_valid_item_and_the_rest_to_train_on() -> None:
    step = FakeStep()

    split.run(step)

    sequences = schema.read_table(paths.SEQUENCES, schema.SEQUENCES)
    assert dict(sequences["part"].value_counts().iter_rows()) == {
        "train": USERS * (HISTORY - 2),
        "valid": USERS,
        "test": USERS,
    }
    assert step.metrics["tied_fraction"] == 0.0 and step.metrics["users"] == USERS
    assert catalogue()["title"].to_list() == [f"Film {n} (20{n:02})" for n in range(ITEMS)]
    assert catalogue()["active"].all()


def test_the_built_order_is_the_order_of_time() -> None:
    split.run(FakeStep())

    sequences = schema.read_table(paths.SEQUENCES, schema.SEQUENCES)
    assert sequences.filter(user_index=3)["item_index"].to_list() == [(3 + n) % ITEMS for n in range(HISTORY)]


def test_a_second_run_gives_equal_bytes() -> None:
    split.run(FakeStep())
    first = [path.read_bytes() for path in OUTPUTS]

    split.run(FakeStep())

    assert [path.read_bytes() for path in OUTPUTS] == first


def test_later_generations_keep_all_indexes_and_gone_items_are_inactive(project: Path) -> None:
    split.run(FakeStep())
    keep_maps()
    log = pl.read_csv(project / "data/raw/interactions.csv")
    fresh = log.filter(pl.col("item_id") != "i4").with_columns(pl.col("user_id").replace("u00", "a_new_user"))
    fresh.write_csv(project / "data/raw/interactions.csv")
    pl.read_csv(project / "data/raw/items.csv").filter(pl.col("item_id") != "i4").write_csv(
        project / "data/raw/items.csv"
    )
    ingest.run(FakeStep())

    split.run(FakeStep())

    users = schema.read_table(paths.USER_IDS, schema.USER_IDS)["user_id"].to_list()
    assert users == [f"u{n:02}" for n in range(USERS)] + ["a_new_user"]
    assert catalogue().filter(~pl.col("active")).rows() == [(4, "i4", "i4", None, False)]
    assert 0 not in schema.read_table(paths.SEQUENCES, schema.SEQUENCES)["user_index"]


def test_a_damaged_previous_map_stops_the_step() -> None:
    split.run(FakeStep())
    keep_maps()
    (paths.PREVIOUS / "item_ids.parquet").write_bytes(b"PAR1")

    with pytest.raises(ArtifactError, match=r"item_ids\.parquet: damaged"):
        split.run(FakeStep())


def test_tolerated_unknown_items_get_no_index(project: Path) -> None:
    items = schema.read_table(paths.ITEMS, schema.ITEMS, with_text=True)
    schema.write_table(items.filter(pl.col("item_id") != "i4"), paths.ITEMS)

    split.run(FakeStep())

    assert "i4" not in schema.read_table(paths.ITEM_IDS, schema.ITEM_IDS)["item_id"]


def test_nothing_left_after_filtering_says_what_to_lower() -> None:
    with pytest.raises(DataError, match=r"left of 96 .* Lower split.min_user_interactions \(9\)"):
        split.run(FakeStep(with_params(split={"min_user_interactions": 9})))


def test_global_time_cuts_at_one_moment_for_all() -> None:
    split.run(FakeStep(with_params(split={"strategy": "global_time"})))

    sequences = schema.read_table(paths.SEQUENCES, schema.SEQUENCES)
    assert sequences.filter(part="test")["user_index"].unique().to_list() == [10, 11]
    assert sequences.filter(user_index=0)["part"].unique().to_list() == ["train"]


@pytest.mark.parametrize(
    ("strategy", "last"),
    [("global_time", "2020-09-13T21:29:40+00:00"), ("leave_one_out", "2020-09-13T23:31:40+00:00")],
)
def test_the_moment_of_the_last_train_row_is_written_down(strategy: str, last: str) -> None:
    """Of 96 rows the last ten are the test part, the ten before them the valid part: row 76 is user 9's fourth. With
    leave_one_out it is the last user's sixth of eight."""
    split.run(FakeStep(with_params(split={"strategy": strategy})))

    assert read_json(paths.SPLIT) == {"strategy": strategy, "fitted_until": last}


def test_a_log_with_an_order_only_has_no_such_moment() -> None:
    log = schema.read_table(paths.INTERACTIONS, schema.INTERACTIONS).sort("timestamp")
    ordered = log.with_row_index("place").with_columns(order=pl.col("place").cast(pl.Int64), timestamp=None)
    schema.write_table(
        ordered.select(pl.col(name).cast(kind) for name, kind in schema.INTERACTIONS.items()), paths.INTERACTIONS
    )

    split.run(FakeStep())

    assert read_json(paths.SPLIT)["fitted_until"] is None


def test_with_global_time_who_and_what_comes_after_the_cut_gets_the_last_numbers_and_is_inactive(project: Path) -> None:
    """The last user, u11, comes only then, as does a_new_user: sorted, but behind those who were known."""
    log, items = (pl.read_csv(project / f"data/raw/{name}.csv") for name in ("interactions", "items"))
    latest = log.filter(pl.col("timestamp") == pl.col("timestamp").max())
    planted = latest.with_columns(user_id=pl.lit("a_new_user"), item_id=pl.lit("a_new_item"))
    new = items[:1].with_columns(item_id=pl.lit("a_new_item"), title=pl.lit("New"))
    pl.concat([log, planted]).write_csv(project / "data/raw/interactions.csv")
    pl.concat([items, new]).write_csv(project / "data/raw/items.csv")
    ingest.run(FakeStep())

    split.run(FakeStep(with_params(split={"strategy": "global_time"})))

    users = schema.read_table(paths.USER_IDS, schema.USER_IDS)["user_id"].to_list()
    assert users == [*(f"u{n:02}" for n in range(USERS - 1)), "a_new_user", "u11"]
    assert catalogue()["item_id"].to_list() == [*(f"i{n}" for n in range(ITEMS)), "a_new_item"]
    assert catalogue()["active"].to_list() == [True] * ITEMS + [False]
    sequences = schema.read_table(paths.SEQUENCES, schema.SEQUENCES)
    assert sequences.filter(user_index=USERS - 1).rows() == [(USERS - 1, 0, ITEMS, "test")]
