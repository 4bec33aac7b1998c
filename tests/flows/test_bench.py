"""A whole benchmark on tiny logs with tiny models, and what the user is told when it cannot be one."""

import shutil
import sys
from pathlib import Path

import polars as pl
import pytest
from small_logs import HISTORY, ITEMS, USERS, write_logs

from flows import cli
from flows.bench import Request, bench
from flows.presets import BENCHMARKS
from ilm.bench.variants import ABLATIONS
from ilm.errors import ConfigError, DataError, IlmError
from ilm.eval.metrics import METRICS, means
from ilm.files import digest, read_json
from tests.fake_project import git
from tests.tiny import save_language_model, save_text_encoder
from tests.tiny_bench import make_project, tiny_benchmark

SYSTEMS = ("ilm", "ilm-rand", "popularity")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_text_encoder(folder / "bert")
    save_language_model(folder / "llama")
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, models: Path, empty_store: Path) -> Path:
    """A project after `ilm bench tiny` with two seeds; its data are beside it. Not to be changed."""
    folder = tmp_path_factory.mktemp("bench")
    write_logs(folder / "logs")
    project = make_project(folder / "project", empty_store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BENCHMARKS, "tiny", tiny_benchmark(models))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'mlflow.db'}")
        patch.chdir(project)
        words = ["bench", "tiny", "--data", str(folder / "logs"), "--seeds", "2", "--systems", *SYSTEMS]
        patch.setattr(sys, "argv", ["ilm", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
    return project


@pytest.fixture
def project(done: Path, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    shutil.copytree(done, tmp_path / "project")
    monkeypatch.setitem(BENCHMARKS, "tiny", tiny_benchmark(models))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'project/mlflow.db'}")
    return tmp_path / "project"


def again(done: Path, **changes: object) -> Request:
    return Request(**{"benchmark": "tiny", "data": done.parent / "logs", "systems": SYSTEMS, "seeds": 2} | changes)


def results(project: Path, name: str = "tiny") -> dict:
    return read_json(project / "reports/bench" / name / "metrics.json")


def forbid(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise AssertionError("computed again")

    for name in names:
        monkeypatch.setattr(name, fail)


def test_every_system_is_ranked_with_every_seed_and_deterministic_ones_once(done: Path) -> None:
    metrics = results(done)
    assert metrics["seeds"] == {"ilm": [0, 1], "ilm-rand": [0, 1], "popularity": [0]}
    assert metrics["data"] == {
        "users": USERS,
        "items": ITEMS,
        "interactions": USERS * HISTORY,
        "split": "leave_one_out",
        "cases": USERS,
        "users_without_train": 0,
        "users_without_history": 0,
    }
    for system, seeds in metrics["seeds"].items():
        for task in ("sequential", "straightforward"):
            values = metrics["per_seed"][system][task]["filtered"]
            assert set(values) == set(METRICS)
            assert all(len(of_seeds) == len(seeds) for of_seeds in values.values())
            mean = metrics["systems"][system][task]["filtered"]["ndcg_at_10"]
            assert mean == pytest.approx(sum(values["ndcg_at_10"]) / len(seeds))


def test_all_others_are_tested_against_the_first_system(done: Path) -> None:
    metrics = results(done)
    assert metrics["subject"] == "ilm"
    assert set(metrics["significance"]["paired"]) == {"ilm_minus_ilm-rand", "ilm_minus_popularity"}


def test_scores_of_users_give_the_metrics(done: Path) -> None:
    scores, metrics = pl.read_parquet(done / "reports/bench/tiny/scores.parquet"), results(done)
    assert scores.height == 5 * 2 * USERS
    for (system, seed, task), rows in scores.group_by("system", "seed", "task"):
        found = means(rows["rank_filtered"].to_numpy())
        assert found["mrr"] == pytest.approx(metrics["per_seed"][system][task]["filtered"]["mrr"][seed])


def test_record_says_how_the_numbers_came(done: Path) -> None:
    folder, logs = done / "reports/bench/tiny", done.parent / "logs"
    command = (folder / "command.txt").read_text()
    assert command == f"ilm bench tiny --data {logs} --seeds 2 --systems {' '.join(SYSTEMS)}\n"
    hashes = read_json(folder / "hashes.json")
    assert hashes["data"] == {str(logs): digest(logs)}
    assert set(hashes["models"]) == {f"{system} seed {seed}" for system in ("ilm", "ilm-rand") for seed in (0, 1)}
    assert hashes["models"]["ilm seed 0"]["stage 2"] != hashes["models"]["ilm seed 1"]["stage 2"]
    environment = read_json(folder / "environment.json")
    assert environment["git.commit"] == git(done, "rev-parse", "HEAD")
    assert environment["git.dirty"] == "false"
    assert "torch" in environment["packages"]
    page = (folder / "report.html").read_text()
    assert command.strip() in page
    assert "ilm-rand" in page
    assert "<svg" in page


def test_results_are_an_mlflow_run_with_the_files_as_artifacts(project: Path) -> None:
    from tasks.tracking import Store

    store = Store.open(project)
    (run,) = store.client.search_runs([store.experiment_id], "tags.`ilm.bench` = 'tiny'")
    assert run.info.status == "FINISHED"
    history = store.client.get_metric_history(run.info.run_id, "ilm_sequential_filtered_hr_at_10")
    assert [point.step for point in history] == [0, 1]
    names = {artifact.path for artifact in store.client.list_artifacts(run.info.run_id)}
    assert {"metrics.json", "scores.parquet", "report.html", "hashes.json"} <= names


def test_working_copy_stays_clean(done: Path) -> None:
    assert git(done, "status", "--porcelain") == ""
    assert not (done / "data").exists()


def test_second_call_computes_nothing_and_gives_the_same(
    project: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(
        monkeypatch, "flows.bench_features.run_step", "ilm.bench.training.run_pretrain",
        "ilm.bench.training.run_finetune", "ilm.bench.trials.target_ranks",
    )  # fmt: skip
    assert bench(project, again(done)).steps == []
    assert results(project) == results(done)


def test_finished_trials_survive_an_interruption(
    project: Path, done: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ilm.bench import training

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "run_finetune", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bench(project, again(done, systems=("ilm", "mlp"), seeds=1))
    assert results(project) == results(done), "an unfinished comparison replaced a finished one"
    capsys.readouterr()
    bench(project, again(done, systems=("ilm", "mlp"), seeds=1))
    printed = capsys.readouterr().out
    assert "ilm  seed 0  kept" in printed
    assert "mlp  seed 0  pretrain" in printed


def test_other_setting_of_stage_2_trains_stage_2_only(
    project: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch, "flows.bench_features.run_step", "ilm.bench.training.run_pretrain")
    bench(project, again(done, systems=("ilm",), seeds=1, overrides=("finetune.steps=5",)))
    assert len(list((project / ".bench/tiny/kept/models").glob("*.safetensors"))) == 0
    assert len(list((project / ".bench/tiny/kept/models").glob("*/model.safetensors"))) == 5


def test_other_ways_of_ranking_use_the_same_training(
    project: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch, "ilm.bench.training.run_pretrain", "ilm.bench.training.run_finetune")
    bench(project, again(done, systems=("ilm", "ilm-unseen", "ilm-titles"), seeds=1))
    found = results(project)["per_seed"]
    assert found["ilm"] == {
        task: {s: {m: v[:1] for m, v in ms.items()} for s, ms in settings.items()}
        for task, settings in results(done)["per_seed"]["ilm"].items()
    }
    assert len({str(values) for values in found.values()}) == 3


def test_index_strings_are_a_training_of_stage_2(project: Path, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(monkeypatch, "flows.bench_features.run_step", "ilm.bench.training.run_pretrain")
    bench(project, again(done, systems=("ilm-indexes",), seeds=1))
    (trial,) = read_json(project / "reports/bench/tiny/trials.json")
    assert trial["settings"]["finetune"]["names"] == "index"


def test_other_setting_of_a_step_runs_that_step_and_those_behind_it(project: Path, done: Path) -> None:
    request = again(done, systems=("als",), overrides=("cf.factors=3",))
    assert bench(project, request).steps == ["cf"], "pairs does not read the vectors"
    assert read_json(project / "reports/bench/tiny/metrics.json")["seeds"] == {"als": [0]}


def test_valid_part_and_diagnoses_have_results_of_their_own(project: Path, done: Path) -> None:
    bench(project, again(done, systems=("ilm",), seeds=1, part="valid", diagnose=True))
    parts = {"ilm", "ilm - language model", "ilm - soft tokens", "ilm - item context"}
    assert set(results(project, "tiny-valid")["seeds"]) == parts
    assert results(project) == results(done)


def test_ablation_shares_what_is_equal_and_keeps_its_order(
    project: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {name: ABLATIONS["stage1"][name] for name in ("IT", "none", "IT-II")}
    monkeypatch.setitem(ABLATIONS, "stage1", chosen)
    before = set((project / ".bench/tiny/kept/encoders").iterdir())
    outcome = bench(project, again(done, systems=(), ablation="stage1", seeds=1))
    assert read_json(outcome.folder / "metrics.json")["order"] == list(chosen)
    assert [line.split(" | ")[0] for line in outcome.table.splitlines()[4:7]] == [f"| {name}" for name in chosen]
    assert len(set((project / ".bench/tiny/kept/encoders").iterdir()) - before) == 2, "only IT is new, with its cost"
    assert (outcome.folder / "plot.svg").read_text().startswith("<svg")


def test_items_without_text_leave_the_systems_that_read_none(
    tmp_path: Path, models: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_logs(tmp_path / "logs")
    (tmp_path / "logs/items.csv").unlink()
    monkeypatch.setitem(BENCHMARKS, "tiny", tiny_benchmark(models))
    project = make_project(tmp_path / "project", empty_store)
    request = Request("tiny", tmp_path / "logs", ("ilm", "als", "text", "popularity"), seeds=1)
    outcome = bench(project, request)
    metrics = results(project)
    assert metrics["order"] == ["als", "popularity"]
    assert metrics["subject"] == "als"
    assert set(metrics["not_run"]) == {"ilm", "text"}
    assert "not run: ilm, because it reads item texts, and none of the 10 items has a title." in outcome.table
    assert "ILM did not run" in (outcome.folder / "report.html").read_text()
    with pytest.raises(DataError, match="none of the systems can run: ilm: it reads item texts"):
        bench(project, Request("tiny", tmp_path / "logs", ("ilm",), seeds=1))


def test_data_of_other_sizes_are_refused_before_anything_is_fitted(project: Path, done: Path, models: Path) -> None:
    BENCHMARKS["tiny"] = tiny_benchmark(models, users=USERS + 1, interactions=99_999)
    message = (
        r"tiny: after the k-core there are 12 users, 10 items, 96 interactions; it should be 13 users, 10 items, 99"
    )
    with pytest.raises(DataError, match=message):
        bench(project, again(done))


def test_two_runs_of_one_benchmark_do_not_meet(project: Path, done: Path) -> None:
    import fcntl

    with (project / ".bench/tiny/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(IlmError, match="another run of this benchmark is under way"):
            bench(project, again(done))


def test_own_features_are_a_benchmark_too(project: Path, done: Path) -> None:
    shutil.copytree(project / ".bench/tiny/data", project / "data")
    shutil.copyfile(project / ".bench/tiny/params.yaml", project / "params.yaml")
    outcome = bench(project, Request("project", systems=("als", "popularity")))
    assert results(project, "project")["data"]["users"] == USERS
    assert outcome.steps == []
    for request in (
        Request("project", systems=("als",), overrides=("cf.factors=3",)),
        Request("project", done.parent / "logs", systems=("als",)),
    ):
        with pytest.raises(ConfigError, match="would change the features"):
            bench(project, request)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmark": "ml-2m"}, "no benchmark is called 'ml-2m'. There are: movielens-small, ml-1m"),
        ({"systems": ("ilm", "magic")}, "no system is called magic. There are: ilm, ilm-rand"),
        ({"systems": (), "ablation": "luck"}, "no ablation is called 'luck'. There are: stage1, queries"),
        ({"ablation": "stage1"}, "an ablation names its systems itself"),
        ({"overrides": ("finetune.stepz=3",)}, r"finetune.stepz=3: not of the form section.setting=value"),
        ({"overrides": ("model.queries=0",)}, r"model.queries=0: must keep to exclusiveMinimum"),
        ({"seeds": 0}, "each system needs at least one"),
        ({"part": "train"}, "--part train: must be test or valid"),
    ],
)
def test_wrong_request_is_a_message(project: Path, done: Path, changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bench(project, again(done, **changes))


def test_system_that_does_not_go_with_the_settings_is_a_message(project: Path, done: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)system mlp: not with these settings.*soft_tokens must be 1"):
        bench(project, again(done, systems=("mlp",), overrides=("model.soft_tokens=2",)))


def test_damaged_trial_is_a_message(project: Path, done: Path) -> None:
    for file in (project / ".bench/tiny/kept/trials").glob("ilm.0.*/scores.parquet"):
        file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(IlmError, match="damaged"):
        bench(project, again(done))


def test_exported_features_are_compared_without_the_pipeline(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ilm.bench.__main__ import main
    from tasks.export import export_features

    export_features(done / ".bench/tiny", tmp_path / "features")
    words = ["--features", str(tmp_path / "features"), "--out", str(tmp_path / "out"), "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", ["ilm.bench", *words, "--systems", "ilm", "popularity"])
    main()
    mine, theirs = read_json(tmp_path / "out/test/metrics.json"), results(done)
    for system in ("ilm", "popularity"):
        first = theirs["per_seed"][system]["sequential"]["filtered"]["mrr"][0]
        assert mine["per_seed"][system]["sequential"]["filtered"]["mrr"][0] == first
    assert (tmp_path / "out/test/table.md").read_text() in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["ilm.bench", *words, "--systems", "magic"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
