"""A benchmark's systems that read the log alone, SASRec's training, and the same data cut by time."""

from pathlib import Path

import polars as pl
import pytest
from small_logs import write_logs

from flows.bench import Request, bench
from flows.presets import BENCHMARKS
from ilm.errors import DataError
from ilm.files import digest, read_json
from tests.tiny import save_language_model, save_text_encoder
from tests.tiny_bench import SASREC, make_project, tiny_benchmark

BASELINES = ("popularity", "als", "item-knn", "recent-items", "sasrec")
BY_TIME = ("split.strategy=global_time", "split.valid_fraction=0.3", "split.test_fraction=0.3")


@pytest.fixture
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project where nothing has run; the data are beside it."""
    write_logs(tmp_path / "logs")
    save_text_encoder(tmp_path / "bert")
    save_language_model(tmp_path / "llama")
    monkeypatch.setitem(BENCHMARKS, "tiny", tiny_benchmark(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'project/mlflow.db'}")
    return make_project(tmp_path / "project", empty_store)


def request(project: Path, *systems: str, seeds: int = 1, overrides: tuple[str, ...] = ()) -> Request:
    return Request("tiny", project.parent / "logs", systems, seeds=seeds, overrides=overrides)


def results(project: Path, file: str, name: str = "tiny") -> dict:
    return read_json(project / "reports/bench" / name / file)


def test_all_of_them_run_and_sasrec_depends_on_the_seed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench(project, request(project, *BASELINES, seeds=2))
    metrics = results(project, "metrics.json")
    assert metrics["seeds"] == {name: [0] for name in BASELINES} | {"sasrec": [0, 1]}
    models = results(project, "hashes.json")["models"]
    assert models["sasrec seed 0"] != models["sasrec seed 1"]

    def fail(*arguments: object) -> None:
        raise AssertionError("computed again")

    for name in ("ilm.bench.log_systems.train_sasrec", "ilm.bench.trials.target_ranks"):
        monkeypatch.setattr(name, fail)
    bench(project, request(project, *BASELINES, seeds=2))
    assert results(project, "metrics.json") == metrics


def test_curve_of_sasrec_is_recorded_and_on_the_page(project: Path) -> None:
    bench(project, request(project, "popularity", "sasrec"))
    popularity, sasrec = results(project, "trials.json")
    assert "checks" not in popularity
    assert [set(check) for check in sasrec["checks"]] == [
        {"step", "seconds", "loss", "hr_at_10", "ndcg_at_10"}
    ] * SASREC["epochs"]
    page = (project / "reports/bench/tiny/report.html").read_text()
    assert page.count("<th>sasrec, seed 0</th>") == 1
    assert f"<td>{sasrec['checks'][-1]['hr_at_10']:.4f}</td>" in page


def test_other_setting_of_sasrec_trains_it_again(project: Path) -> None:
    for overrides in ((), ("sasrec.layers=2",)):
        bench(project, request(project, "sasrec", overrides=overrides))
    assert len(list((project / ".bench/tiny/kept/models").glob("sasrec-*/model.safetensors"))) == 2
    (trial,) = results(project, "trials.json")
    assert trial["settings"]["sasrec"]["sizes"]["layers"] == 2


def test_cut_by_time_is_a_benchmark_of_its_own_with_the_item_language_model(project: Path) -> None:
    """Whose folders, features and results are apart from the published one's."""
    bench(project, request(project, "popularity"))
    kept, published = digest(project / ".bench/tiny"), results(project, "metrics.json")
    wanted = request(project, "ilm", *BASELINES, overrides=BY_TIME)

    outcome = bench(project, wanted)

    assert outcome.folder == project / "reports/bench/tiny-global-time"
    assert outcome.steps == ["ingest", "validate", "split", "cf", "pairs"]
    assert digest(project / ".bench/tiny") == kept
    assert results(project, "metrics.json") == published
    metrics, scores = (
        results(project, "metrics.json", "tiny-global-time"),
        pl.read_parquet(outcome.folder / "scores.parquet"),
    )
    assert metrics["order"] == ["ilm", *BASELINES]
    assert metrics["data"]["split"] == "global_time"
    assert metrics["data"]["cases"] == scores.filter(system="ilm", task="sequential").height > 0
    sequences = pl.read_parquet(project / ".bench/tiny-global-time/data/features/sequences.parquet")
    later = sequences.filter(part="test")["user_index"].n_unique()
    assert later == metrics["data"]["cases"] + metrics["data"]["users_without_history"]
    assert bench(project, wanted).steps == []


def test_data_of_other_sizes_are_refused_however_they_are_split(project: Path) -> None:
    BENCHMARKS["tiny"] = tiny_benchmark(project.parent, interactions=99_999)
    with pytest.raises(DataError, match="after the k-core there are 12 users, 10 items, 96 interactions"):
        bench(project, request(project, "als", overrides=BY_TIME))
