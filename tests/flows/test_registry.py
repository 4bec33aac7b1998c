"""Real MLflow registry on sqlite, real bundles; only the recommender inside is a stand-in."""

import json
import math
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient

from flows import registry
from flows.promotion import promote_first
from flows.registry_store import Registry
from ilm.errors import ArtifactError, LookupFailed
from ilm.files import digest
from ilm.serve import item_language_model
from ilm.serve.question import Recommendation, Reply
from tasks import paths
from tests.fake_project import git


class StandIn:
    """Knows items a and b and user u; gives as many items as the bundle has factors."""

    score = 0.5

    def __init__(self, count: int) -> None:
        self.count = count

    @classmethod
    def from_pretrained(cls, path: str | Path) -> "StandIn":
        return cls(int((Path(path) / "cf.safetensors").read_text()))

    @property
    def questions(self) -> "StandIn":
        return self

    def recommendation(
        self, *, user: str | None = None, history: list[str] | None = None, k: int = 10, **filters: Any
    ) -> Reply:
        if user not in (None, "u") or not {*(history or [])} <= {"a", "b"}:
            raise LookupFailed("unknown.")
        asked = f"{user} {history}"
        return Reply("", [Recommendation(f"{rank}", asked, self.score) for rank in range(min(k, self.count))])

    def answer(self, questions: list[Reply]) -> list[Reply]:
        return questions

    def rank(self, **asked: Any) -> list[Recommendation]:
        return self.recommendation(**asked).items


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_language_model, "ItemLanguageModel", StandIn)


@pytest.fixture
def client(finished: Path) -> MlflowClient:
    return Registry.open(finished).client


def rewrite_metrics(project: Path, change: Any) -> None:
    metrics = json.loads((project / paths.METRICS).read_text())
    change(metrics["systems"])
    (project / paths.METRICS).write_text(json.dumps(metrics))


def test_version_says_where_it_comes_from(finished: Path, client: MlflowClient) -> None:
    version = client.get_model_version("ilm", registry.register(finished))
    lock = yaml.safe_load((finished / "dvc.lock").read_text())["stages"]
    made = {out["path"]: out["md5"] for stage in lock.values() for out in stage["outs"]}
    assert version.tags == {
        "ilm.bundle_digest": digest(registry.bundle_of(Registry.open(finished), "1")),
        "ilm.space_id": "s",
        "ilm.llm": "tiny",
        "ilm.llm_sha256": "0" * 64,
        "git.commit": git(finished, "rev-parse", "HEAD"),
        "git.dirty": "false",
        "dvc.lock.sha256": digest(finished / "dvc.lock"),
        "params.sha256": digest(finished / "params.yaml"),
        "data.interactions.md5": made["data/interim/interactions.parquet"],
        "data.items.md5": made["data/interim/items.parquet"],
        "data.users": "1",
        "data.items": "2",
        "data.interactions": "3",
        "data.cases": "1",
        "data.split": "leave_one_out",
    }


def test_version_carries_what_the_pipeline_was(finished: Path, client: MlflowClient) -> None:
    registry.register(finished)
    lineage = registry.bundle_of(Registry.open(finished), "1").parent / "lineage"
    for name in ("dvc.lock", "dvc.yaml", "params.yaml"):
        assert (lineage / name).read_bytes() == (finished / name).read_bytes()


def test_versions_run_has_the_metrics(finished: Path, client: MlflowClient) -> None:
    registry.register(finished)
    run_id = client.get_model_version("ilm", "1").run_id
    assert client.get_run(run_id).data.metrics["sequential.filtered.ndcg_at_10"] == 0.25


def test_same_bundle_is_registered_once(finished: Path, client: MlflowClient) -> None:
    assert registry.register(finished) == registry.register(finished) == "1"
    assert len(client.search_model_versions("name = 'ilm'")) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "0.2", True, 1.5, -0.1])
def test_metric_that_is_no_share_refuses(finished: Path, value: Any) -> None:
    rewrite_metrics(finished, lambda systems: systems["ilm"]["sequential"]["filtered"].update(hr_at_10=value))
    with pytest.raises(ArtifactError, match=r"sequential\.filtered\.hr_at_10 is"):
        registry.register(finished)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda systems: systems.pop("ilm"), "no systems.ilm"),
        (lambda systems: systems["ilm"].pop("sequential"), "sequential.filtered.hr_at_5 is missing"),
        (lambda systems: systems["ilm"]["sequential"].update(filtered={}), "sequential.filtered.hr_at_5 is missing"),
        (lambda systems: systems["ilm"]["sequential"]["unfiltered"].pop("ndcg_at_5"), "unfiltered.ndcg_at_5 is"),
    ],
)  # fmt: skip
def test_missing_metrics_refuse(finished: Path, change: Any, message: str) -> None:
    rewrite_metrics(finished, change)
    with pytest.raises(ArtifactError, match=message):
        registry.register(finished)


def test_no_metrics_file_refuses(finished: Path) -> None:
    (finished / paths.METRICS).unlink()
    with pytest.raises(ArtifactError, match="not found"):
        registry.register(finished)


@pytest.mark.parametrize(
    "path", ["data/models/ilm/config.json", "reports/metrics.json", "data/features/user_ids.parquet"]
)
def test_artifact_that_is_not_the_one_in_dvc_lock_refuses(finished: Path, path: str) -> None:
    (finished / path).chmod(0o644)
    (finished / path).write_bytes((finished / path).read_bytes() + b" ")
    with pytest.raises(ArtifactError, match="not the one in dvc.lock"):
        registry.register(finished)


def test_champion_bundle_needs_a_champion(finished: Path) -> None:
    with pytest.raises(ArtifactError, match="no champion yet"):
        registry.champion_bundle(finished)


def test_pyfunc_answers_users_and_histories_row_by_row(finished: Path) -> None:
    promote_first(finished, registry.register(finished), bootstrap=True)
    model = mlflow.pyfunc.load_model("models:/ilm@champion")
    requests = pd.DataFrame({"user_id": ["u", None], "history": [None, ["b", "a"]], "k": [1, 2]})
    answer = model.predict(requests)
    assert answer.columns.to_list() == ["row", "rank", "item_id", "title", "score"]
    assert answer["row"].to_list() == [0, 1, 1]
    assert answer["rank"].to_list() == [1, 1, 2]
    assert answer["title"].to_list() == ["u None", "None ['b', 'a']", "None ['b', 'a']"]


def test_pyfunc_gives_ten_items_unless_told_otherwise(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandIn, "from_pretrained", classmethod(lambda cls, path: cls(99)))
    promote_first(finished, registry.register(finished), bootstrap=True)
    model = mlflow.pyfunc.load_model("models:/ilm@champion")
    assert len(model.predict(pd.DataFrame({"user_id": ["u"]}))) == 10
