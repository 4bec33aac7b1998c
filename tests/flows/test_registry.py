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
from ilm.errors import ArtifactError, ConfigError, LookupFailed
from ilm.files import digest
from ilm.serve import item_language_model
from ilm.serve.item_language_model import Recommendation
from tasks import paths
from tests.fake_project import git, run


class StandIn:
    """Knows items a and b and user u; gives as many items as the bundle has factors."""

    score = 0.5

    def __init__(self, count: int) -> None:
        self.count = count

    @classmethod
    def from_pretrained(cls, path: str | Path) -> "StandIn":
        return cls(int((Path(path) / "cf.safetensors").read_text()))

    def rank(self, *, user: str | None = None, history: list[str] | None = None, k: int = 10) -> list[Recommendation]:
        if user not in (None, "u") or not {*(history or [])} <= {"a", "b"}:
            raise LookupFailed("unknown.")
        asked = f"{user} {history}"
        return [Recommendation(f"{rank}", asked, self.score) for rank in range(min(k, self.count))]


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_language_model, "ItemLanguageModel", StandIn)


@pytest.fixture
def client(finished: Path) -> MlflowClient:
    return registry.Store.open(finished).client


def retrain(project: Path, factors: int) -> None:
    """Another model, by the pipeline itself."""
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("factors: 2", f"factors: {factors}"))
    assert run(project, "-m", "dvc", "repro", "--single-item", "cf").returncode == 0


def rewrite_metrics(project: Path, change: Any) -> None:
    metrics = json.loads((project / paths.METRICS).read_text())
    change(metrics["systems"])
    (project / paths.METRICS).write_text(json.dumps(metrics))


def test_version_says_where_it_comes_from(finished: Path, client: MlflowClient) -> None:
    version = client.get_model_version("ilm", registry.register(finished))
    lock = yaml.safe_load((finished / "dvc.lock").read_text())["stages"]
    made = {out["path"]: out["md5"] for stage in lock.values() for out in stage["outs"]}
    assert version.tags == {
        "ilm.bundle_digest": digest(registry._bundle_of("ilm", "1")),
        "ilm.space_id": "s",
        "ilm.llm": "tiny",
        "ilm.llm_sha256": "0" * 64,
        "git.commit": git(finished, "rev-parse", "HEAD"),
        "git.dirty": "false",
        "dvc.lock.sha256": digest(finished / "dvc.lock"),
        "params.sha256": digest(finished / "params.yaml"),
        "data.interactions.md5": made["data/interim/interactions.parquet"],
        "data.items.md5": made["data/interim/items.parquet"],
    }


def test_version_carries_dvc_lock_and_params(finished: Path, client: MlflowClient) -> None:
    registry.register(finished)
    lineage = registry._bundle_of("ilm", "1").parent / "lineage"
    for name in ("dvc.lock", "params.yaml"):
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


def test_first_champion_needs_bootstrap(finished: Path, client: MlflowClient) -> None:
    version = registry.register(finished)
    with pytest.raises(ArtifactError, match=f"ilm promote {version} --bootstrap"):
        registry.promote(finished, version)
    assert registry.alias(client, "ilm", "champion") is None
    registry.promote(finished, version, bootstrap=True)
    assert registry.alias(client, "ilm", "champion") == version


def test_flow_without_bootstrap_leaves_the_first_version_waiting(finished: Path, client: MlflowClient) -> None:
    assert registry.promote_first(finished, registry.register(finished), bootstrap=False) is None
    assert registry.alias(client, "ilm", "challenger") == "1"


def test_second_version_waits_as_challenger_until_promoted_by_hand(finished: Path, client: MlflowClient) -> None:
    registry.promote_first(finished, registry.register(finished), bootstrap=True)
    retrain(finished, 3)
    assert registry.promote_first(finished, registry.register(finished), bootstrap=True) == "1"
    assert aliases(client) == {"champion": "1", "challenger": "2"}
    registry.promote(finished, "2")
    assert aliases(client) == {"champion": "2", "previous": "1"}


def test_promoting_the_champion_again_changes_nothing(finished: Path, client: MlflowClient) -> None:
    registry.promote_first(finished, registry.register(finished), bootstrap=True)
    registry.promote(finished, "1")
    assert aliases(client) == {"champion": "1"}


def test_version_that_does_not_exist_is_a_message(finished: Path) -> None:
    registry.register(finished)
    with pytest.raises(ConfigError, match=r"no version 7 \(there are: 1\)"):
        registry.promote(finished, "7", bootstrap=True)


def test_damaged_bundle_is_not_promoted(finished: Path, client: MlflowClient) -> None:
    version = registry.register(finished)
    (registry._bundle_of("ilm", version) / "catalogue.parquet").write_text("damaged")
    with pytest.raises(ArtifactError, match="digest"):
        registry.promote(finished, version, bootstrap=True)
    assert aliases(client) == {}


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_model_with_scores_that_are_no_numbers_is_not_promoted(
    finished: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, score: float
) -> None:
    version = registry.register(finished)
    monkeypatch.setattr(StandIn, "score", score)
    with pytest.raises(ArtifactError, match="scores that are no numbers"):
        registry.promote(finished, version, bootstrap=True)
    assert aliases(client) == {}


def test_model_that_recommends_nothing_is_not_promoted(
    finished: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registry.register(finished)
    monkeypatch.setattr(StandIn, "rank", lambda self, **_: [])
    with pytest.raises(ArtifactError, match="recommends nothing"):
        registry.promote(finished, version, bootstrap=True)
    assert aliases(client) == {}


def test_registry_that_does_not_keep_the_alias_is_noticed(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = registry.register(finished)
    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", lambda *_: None)
    with pytest.raises(ArtifactError, match="alias champion was set to 1 and reads None"):
        registry.promote(finished, version, bootstrap=True)


def test_champion_bundle_needs_a_champion(finished: Path) -> None:
    with pytest.raises(ArtifactError, match="no champion yet"):
        registry.champion_bundle(finished)


def test_pyfunc_answers_users_and_histories_row_by_row(finished: Path) -> None:
    registry.promote_first(finished, registry.register(finished), bootstrap=True)
    model = mlflow.pyfunc.load_model("models:/ilm@champion")
    requests = pd.DataFrame({"user_id": ["u", None], "history": [None, ["b", "a"]], "k": [1, 2]})
    answer = model.predict(requests)
    assert answer.columns.to_list() == ["row", "rank", "item_id", "title", "score"]
    assert answer["row"].to_list() == [0, 1, 1]
    assert answer["rank"].to_list() == [1, 1, 2]
    assert answer["title"].to_list() == ["u None", "None ['b', 'a']", "None ['b', 'a']"]


def test_pyfunc_gives_ten_items_unless_told_otherwise(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandIn, "from_pretrained", classmethod(lambda cls, path: cls(99)))
    registry.promote_first(finished, registry.register(finished), bootstrap=True)
    model = mlflow.pyfunc.load_model("models:/ilm@champion")
    assert len(model.predict(pd.DataFrame({"user_id": ["u"]}))) == 10


def aliases(client: MlflowClient) -> dict[str, str]:
    return {name: str(version) for name, version in client.get_registered_model("ilm").aliases.items()}
