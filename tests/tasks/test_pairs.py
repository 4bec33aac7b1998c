"""Step `pairs`, and the four data steps in a row on the built-in data."""

from pathlib import Path

import polars as pl
import pytest
from small_logs import HISTORY, USERS, FakeStep, write_logs

from ilm.data import schema
from ilm.errors import ArtifactError
from ilm.params import Params
from tasks import ingest, pairs, paths, split

TABLES = {
    paths.ITEM_TEXT_PAIRS: schema.ITEM_TEXT,
    paths.ITEM_ITEM_PAIRS: schema.ITEM_ITEM,
    paths.USER_ITEM_PAIRS: schema.USER_ITEM,
    paths.EXAMPLES: schema.EXAMPLES,
}


def test_a_small_log_gives_the_four_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_logs(tmp_path / "data/raw")
    ingest.run(FakeStep())
    split.run(FakeStep())

    pairs.run(FakeStep())

    tables = {path: schema.read_table(path, kind) for path, kind in TABLES.items()}
    assert len(tables[paths.USER_ITEM_PAIRS]) == USERS * (HISTORY - 2)
    assert tables[paths.ITEM_TEXT_PAIRS].filter(item_index=0)["text"].to_list() == [
        "Film 0 (2000)",
        "Film 0 (2000). Genres: Drama, War.",
    ]
    per_task = tables[paths.EXAMPLES].group_by("task", "split").len().sort("task", "split").rows()
    assert per_task == [
        ("sequential", "test", USERS),
        ("sequential", "train", USERS),
        ("sequential", "valid", USERS),
        ("straightforward", "test", USERS),
        ("straightforward", "train", 4 * USERS),
        ("straightforward", "valid", USERS),
    ]


def test_without_the_step_before_it_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ArtifactError, match=r"catalogue\.parquet: not found. Run the step that writes it"):
        pairs.run(FakeStep())


@pytest.fixture(scope="module")
def built_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in data after all data steps but the gate, in a folder of their own."""
    folder = tmp_path_factory.mktemp("built_in")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "data/logs").mkdir(parents=True)
        for step in (ingest, split, pairs):
            step.run(FakeStep(Params()))
    return folder


def test_the_built_in_data_have_the_known_size(built_in: Path) -> None:
    sequences = schema.read_table(built_in / paths.SEQUENCES, schema.SEQUENCES)
    active = pl.read_parquet(built_in / paths.CATALOGUE)["active"]

    assert (sequences["user_index"].n_unique(), active.sum(), len(sequences)) == (671, 3_496, 90_072)
    assert len(active) == 3_496


def test_no_held_out_item_reaches_a_training_table(built_in: Path) -> None:
    sequences = schema.read_table(built_in / paths.SEQUENCES, schema.SEQUENCES)
    train = sequences.filter(part="train").select("user_index", pl.col("item_index").alias("target"))
    examples = schema.read_table(built_in / paths.EXAMPLES, schema.EXAMPLES)

    learned = examples.filter(split="train").select("user_index", "target")
    assert learned.join(train, on=["user_index", "target"], how="anti").is_empty()
    consumed = schema.read_table(built_in / paths.USER_ITEM_PAIRS, schema.USER_ITEM)
    assert consumed.equals(train.unique().sort("user_index", "target").rename({"target": "item_index"}))


def test_the_test_history_is_all_that_came_before(built_in: Path) -> None:
    sequences = schema.read_table(built_in / paths.SEQUENCES, schema.SEQUENCES)
    examples = schema.read_table(built_in / paths.EXAMPLES, schema.EXAMPLES)
    of_one = sequences.filter(user_index=17)["item_index"].to_list()

    example = examples.filter(task="sequential", split="test", user_index=17).row(0, named=True)
    assert example["history"] == of_one[:-1][-200:] and example["target"] == of_one[-1]
