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
from tasks import evaluate, paths

USERS, ITEMS, SHOWN = 14, 12, 3
TASKS = ("sequential", "straightforward")
PARAMS = with_params(evaluate={"batch_size": 4, "bootstrap_samples": 100}, cf={"factors": 3})


class Oracle:
    """Knows the held-out item: it is the one after the last of the history. Remembers what it was shown."""

    def __init__(self) -> None:
        self.lengths: set[int] = set()

    def score(self, task: str, histories: Sequence[np.ndarray]) -> np.ndarray:
        self.lengths |= {len(history) for history in histories}
        scores = np.zeros((len(histories), ITEMS), np.float32)
        scores[np.arange(len(histories)), [(history[-1] + 1) % (ITEMS - 1) for history in histories]] = 1
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
    write_json(paths.FINETUNED / "history.json", [{"step": 0, "loss": 2.0}, {"step": 1, "loss": 1.0}])
    oracle = Oracle()
    monkeypatch.setattr("ilm.rank.head.load_recommender", lambda model, factors, batch_size: oracle)
    return oracle


def write_examples(rows: list[tuple[str, str, int, list[int], int]]) -> None:
    schema.write_table(pl.DataFrame(rows, schema=dict(schema.EXAMPLES), orient="row"), paths.EXAMPLES)


def test_metrics_file_has_exactly_the_agreed_keys() -> None:
    evaluate.run(FakeStep(PARAMS))
    metrics = read_json(paths.METRICS)
    assert set(metrics) == {"data", "systems", "cost", "significance", "slices"}
    assert metrics["data"] == {"users": 14, "items": 11, "interactions": 98, "split": "leave_one_out"}
    assert set(metrics["systems"]) == {"popularity", "als", "ilm"}
    for tasks in metrics["systems"].values():
        assert set(tasks) == set(TASKS)
        for settings in tasks.values():
            assert set(settings) == {"filtered", "unfiltered"}
            assert all(set(values) == set(METRICS) for values in settings.values())
    assert set(metrics["cost"]) == {"cf", "evaluate"}
    assert metrics["cost"]["cf"] == {"seconds": 1.5, "peak_memory_mb": 300.0}
    assert set(metrics["cost"]["evaluate"]) == {"seconds", "peak_memory_mb"}


def test_scores_have_every_user_once_and_give_the_metrics() -> None:
    evaluate.run(FakeStep(PARAMS))
    scores, metrics = pl.read_parquet(paths.SCORES), read_json(paths.METRICS)
    assert scores.height == 3 * len(TASKS) * USERS
    assert scores.select("system", "task", "user_index").is_unique().all()
    for (system, task), rows in scores.group_by("system", "task"):
        for setting in ("filtered", "unfiltered"):
            expected = means(rows[f"rank_{setting}"].to_numpy())
            assert metrics["systems"][system][task][setting] == pytest.approx(expected)


def test_system_that_knows_the_answer_is_perfect_and_proved_better() -> None:
    evaluate.run(FakeStep(PARAMS))
    metrics = read_json(paths.METRICS)
    assert metrics["systems"]["ilm"]["sequential"]["filtered"]["ndcg_at_5"] == 1.0
    assert metrics["significance"]["paired"]["ilm_minus_popularity"]["sequential"]["filtered"]["ndcg_at_5"]["low"] > 0


def test_model_is_shown_the_examples_history(oracle: Oracle) -> None:
    evaluate.run(FakeStep(PARAMS))
    assert oracle.lengths == {SHOWN}


def test_baselines_are_shown_the_whole_history(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: set[int] = set()

    def score(self: object, task: str, histories: Sequence[np.ndarray]) -> np.ndarray:
        lengths.update(len(history) for history in histories)
        return np.zeros((len(histories), ITEMS), np.float32)

    monkeypatch.setattr("ilm.baselines.als.Als.score", score)
    evaluate.run(FakeStep(PARAMS))
    assert lengths == {6}


def test_rerun_gives_equal_bytes() -> None:
    outputs = (paths.SCORES, paths.REPORT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "peak_memory_mb", lambda: 1.0)
        evaluate.run(FakeStep(PARAMS))
        before = [path.read_bytes() for path in outputs]
        evaluate.run(FakeStep(PARAMS))
    assert [path.read_bytes() for path in outputs] == before


def test_report_shows_the_curves_and_the_settings() -> None:
    evaluate.run(FakeStep(PARAMS))
    page = paths.REPORT.read_text(encoding="utf-8")
    assert "Stage 2" in page
    assert "Stage 1" not in page
    assert "bootstrap_samples: 100" in page


def test_metrics_are_logged_by_system_task_and_setting() -> None:
    step = FakeStep(PARAMS)
    evaluate.run(step)
    assert len(step.metrics) == 3 * 2 * 2 * len(METRICS)
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
    assert not paths.REPORT.exists()


@pytest.mark.parametrize("cost", [{"seconds": 1.0}, [], {"seconds": None, "peak_memory_mb": 1}])
def test_damaged_cost_file_is_refused(cost: object) -> None:
    write_json(paths.COST / "split.json", cost)
    with pytest.raises(ArtifactError, match=r"split\.json: not the cost of a step"):
        evaluate.run(FakeStep(PARAMS))
