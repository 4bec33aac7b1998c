"""Step `evaluate` on tiny tables, with a stand-in for the Item-Language Model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_logs import FakeStep, with_params

from ilm.cf.als import fit
from ilm.cf.factors import save
from ilm.data import schema
from ilm.errors import ArtifactError, DataError
from ilm.eval.metrics import METRICS, means
from ilm.files import read_json, write_json
from ilm.prompts.example import Example
from ilm.prompts.templates import UNSEEN
from tasks import evaluate, paths

USERS, ITEMS, SHOWN = 14, 12, 3
TASKS = ("sequential", "straightforward")
PARAMS = with_params(evaluate={"batch_size": 4, "bootstrap_samples": 100, "conversation_users": 5}, cf={"factors": 3})
PLAIN = {"log_perplexity_alone": 3.5, "log_perplexity_inside": 3.5}


class Oracle:
    """Knows the held-out item: it is the one after the last of the history, unless the prompt is an unseen one.
    Remembers what it was shown."""

    batch_size, model = 4, None

    def __init__(self, step: int = 1) -> None:
        self.step = step
        self.lengths: set[int] = set()

    def asking(self, templates: dict[str, str]) -> "Oracle":
        assert templates == UNSEEN
        return Oracle(step=2)

    def score_examples(self, examples: Sequence[Example]) -> np.ndarray:
        return self.score("conversation", [example.profile for example in examples])

    def score(self, task: str, histories: Sequence[np.ndarray]) -> np.ndarray:
        self.lengths |= {len(history) for history in histories}
        scores = np.zeros((len(histories), ITEMS), np.float32)
        scores[np.arange(len(histories)), [(history[-1] + self.step) % (ITEMS - 1) for history in histories]] = 1
        return scores


@pytest.fixture(autouse=True)
def oracle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Oracle:
    monkeypatch.chdir(tmp_path)
    parts = ["train"] * 5 + ["valid", "test"]
    rows = [(u, p, (u + p) % (ITEMS - 1), part) for u in range(USERS) for p, part in enumerate(parts)]
    sequences = pl.DataFrame(rows, schema=dict(schema.SEQUENCES), orient="row")
    schema.write_table(sequences, paths.SEQUENCES)
    items = [(i, f"i{i}", f"Film {i}", "Drama", i < ITEMS - 1) for i in range(ITEMS)]
    columns = {"item_index": pl.Int32, "item_id": pl.String, "title": pl.String, "genres": pl.String}
    schema.write_table(pl.DataFrame(items, schema={**columns, "active": pl.Boolean}, orient="row"), paths.CATALOGUE)
    items_of = [[row[2] for row in rows if row[0] == u] for u in range(USERS)]
    write_examples(
        [(task, "test", u, items_of[u][:-1][-SHOWN:], items_of[u][-1]) for task in TASKS for u in range(USERS)]
    )
    train = sequences.filter(pl.col("part") == "train")
    fitted = fit(
        train["user_index"].to_numpy(),
        train["item_index"].to_numpy(),
        n_users=USERS,
        n_items=ITEMS,
        params=PARAMS.cf,
        item_map_hash="i",
        user_map_hash="u",
    )
    save(paths.CF_FACTORS, fitted.factors)
    write_json(paths.COST / "cf.json", {"seconds": 1.5, "peak_memory_mb": 300, "mlflow_run_id": "abc"})
    oracle = Oracle()
    monkeypatch.setattr("ilm.eval.plain_text.plain_text", lambda model: PLAIN)
    monkeypatch.setattr("ilm.rank.head.load_recommender", lambda model, factors, batch_size: oracle)
    return oracle


def write_examples(rows: list[tuple[str, str, int, list[int], int]]) -> None:
    schema.write_table(pl.DataFrame(rows, schema=dict(schema.EXAMPLES), orient="row"), paths.EXAMPLES)


def test_metrics_file_has_exactly_the_agreed_keys() -> None:
    evaluate.run(FakeStep(PARAMS))
    metrics = read_json(paths.METRICS)
    assert set(metrics) == {
        "data", "systems", "cost", "significance", "slices", "ranking_seconds", "prompts",
        "conversation", "plain_text",
    }  # fmt: skip
    sizes = {"users": 14, "items": 11, "interactions": 98, "split": "leave_one_out"}
    assert metrics["data"].items() >= sizes.items()
    assert set(metrics["systems"]) == {"popularity", "als", "ilm"}
    for tasks in metrics["systems"].values():
        assert set(tasks) == set(TASKS)
        for settings in tasks.values():
            assert set(settings) == {"filtered", "unfiltered"}
            assert all(set(values) == set(METRICS) for values in settings.values())
    assert set(metrics["cost"]) == {"cf", "evaluate"}
    assert metrics["cost"]["cf"] == {"seconds": 1.5, "peak_memory_mb": 300.0}
    assert set(metrics["cost"]["evaluate"]) == {"seconds", "peak_memory_mb"}
    assert set(metrics["ranking_seconds"]) == set(metrics["systems"])
    assert all(set(tasks) == set(TASKS) for tasks in metrics["ranking_seconds"].values())


def test_scores_have_every_user_once_and_give_the_metrics() -> None:
    evaluate.run(FakeStep(PARAMS))
    scores, metrics = pl.read_parquet(paths.SCORES), read_json(paths.METRICS)
    assert scores.height == 3 * len(TASKS) * USERS
    assert scores.select("system", "task", "user_index").is_unique().all()
    for (system, task), rows in scores.group_by("system", "task"):
        for setting in ("filtered", "unfiltered"):
            expected = means(rows[f"rank_{setting}"].to_numpy())
            assert metrics["systems"][system][task][setting] == pytest.approx(expected)


def test_of_many_users_some_are_asked_drawn_by_lot_and_always_the_same() -> None:
    some = PARAMS.model_copy(update={"evaluate": PARAMS.evaluate.model_copy(update={"max_users": 5})})
    other = PARAMS.model_copy(update={"evaluate": some.evaluate.model_copy(update={"seed": 43})})
    asked = []
    for params in (some, some, other, PARAMS):
        evaluate.run(FakeStep(params))
        scores = pl.read_parquet(paths.SCORES)
        users = scores["user_index"].unique().sort().to_list()
        assert all(rows["user_index"].to_list() == users for _, rows in scores.group_by("system", "task"))
        assert read_json(paths.METRICS)["data"]["asked"] == len(users)
        assert read_json(paths.METRICS)["data"]["cases"] == USERS
        asked.append(users)
    assert asked[0] == asked[1] != asked[2]
    assert [len(users) for users in asked] == [5, 5, 5, USERS]
    assert asked[0] != list(range(5))


def test_sequences_with_a_damaged_page_are_refused() -> None:
    whole = bytearray(paths.SEQUENCES.read_bytes())
    whole[4:40] = b"\xff" * 36
    paths.SEQUENCES.write_bytes(whole)
    with pytest.raises(ArtifactError, match=r"sequences\.parquet: damaged"):
        evaluate.run(FakeStep(PARAMS))


def test_system_that_knows_the_answer_is_perfect_and_proved_better() -> None:
    evaluate.run(FakeStep(PARAMS))
    metrics = read_json(paths.METRICS)
    assert metrics["systems"]["ilm"]["sequential"]["filtered"]["ndcg_at_5"] == 1.0
    assert metrics["significance"]["paired"]["ilm_minus_popularity"]["sequential"]["filtered"]["ndcg_at_5"]["low"] > 0


def test_model_is_shown_the_examples_history_and_in_conversations_all_that_was_seen(oracle: Oracle) -> None:
    evaluate.run(FakeStep(PARAMS))
    assert oracle.lengths == {SHOWN, 6}


def test_seen_and_unseen_prompts_are_compared_for_each_task() -> None:
    step = FakeStep(PARAMS)
    evaluate.run(step)
    for task, found in read_json(paths.METRICS)["prompts"].items():
        assert found["seen"]["filtered"]["ndcg_at_5"] == 1.0
        assert found["unseen"]["filtered"]["ndcg_at_5"] < 1.0
        assert found["seen_minus_unseen"]["filtered"]["ndcg_at_5"]["low"] > 0
        assert step.metrics[f"ilm-unseen_{task}_filtered_ndcg_at_5"] == found["unseen"]["filtered"]["ndcg_at_5"]


def test_conversations_and_plain_text_are_measured_and_logged() -> None:
    step = FakeStep(PARAMS)
    evaluate.run(step)
    metrics = read_json(paths.METRICS)
    talked = metrics["conversation"]
    assert talked["users"] == 5
    assert talked["in_catalogue"] == talked["not_seen_before"] == 1.0
    assert talked["all"]["turns"]["first_seen"]["hr_at_10"] == 1.0
    assert step.metrics["conversation_value_first_seen_hr_at_10"] == 1.0
    assert metrics["plain_text"] == PLAIN
    assert step.metrics["plain_text_log_perplexity_inside"] == 3.5


def test_baselines_are_shown_the_whole_history(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: set[int] = set()

    def score(self: object, task: str, histories: Sequence[np.ndarray]) -> np.ndarray:
        lengths.update(len(history) for history in histories)
        return np.zeros((len(histories), ITEMS), np.float32)

    monkeypatch.setattr("ilm.baselines.als.Als.score", score)
    evaluate.run(FakeStep(PARAMS))
    assert lengths == {6}


def test_rerun_gives_equal_bytes() -> None:
    outputs = (paths.SCORES, paths.METRICS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "peak_memory_mb", lambda: 1.0)
        evaluate.run(FakeStep(PARAMS))
        before = [path.read_bytes() for path in outputs]
        evaluate.run(FakeStep(PARAMS))
    assert [path.read_bytes() for path in outputs] == before


def test_metrics_are_logged_by_system_task_and_setting() -> None:
    step = FakeStep(PARAMS)
    evaluate.run(step)
    assert sum(name.endswith(METRICS) for name in step.metrics if "conversation" not in name) == 4 * 2 * 2 * len(
        METRICS
    )
    assert step.metrics["ilm_sequential_filtered_ndcg_at_10"] > 0


def test_split_without_a_test_part_is_refused() -> None:
    write_examples([("sequential", "valid", 0, [0], 1)])
    with pytest.raises(DataError, match="no test example"):
        evaluate.run(FakeStep(PARAMS))


def test_model_that_gives_nan_is_refused_and_writes_nothing(oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "score", lambda task, histories: np.full((len(histories), ITEMS), np.nan, np.float32))
    with pytest.raises(ArtifactError, match="ilm: a score is NaN"):
        evaluate.run(FakeStep(PARAMS))
    assert not paths.SCORES.exists()
    assert not paths.METRICS.exists()


@pytest.mark.parametrize("cost", [{"seconds": 1.0}, [], {"seconds": None, "peak_memory_mb": 1}])
def test_damaged_cost_file_is_refused(cost: object) -> None:
    write_json(paths.COST / "split.json", cost)
    with pytest.raises(ArtifactError, match=r"split\.json: not the cost of a step"):
        evaluate.run(FakeStep(PARAMS))
