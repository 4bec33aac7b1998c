"""Stages 1 and 2 where an earlier generation is gone on from: used again, grown, refreshed, or made anew."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_logs import FakeStep

from ilm.cf.drift import Drift, save_drift
from ilm.cf.factors import Factors, load, save
from ilm.errors import ArtifactError
from ilm.files import digest, read_json
from ilm.model.storage import load_bridge
from ilm.params import load_params
from ilm.rank.head import HeadRecommender
from tasks import finetune, paths, pretrain
from tests.tiny_project import ITEMS, write_project

SLOW = {"learning_rate": 1e-12, "head_learning_rate": 1e-12, "context_learning_rate": 1e-12}
"""So slow that whoever goes on from weights has them at the end."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose last generation lies in data/previous."""
    project = write_project(
        tmp_path_factory.mktemp("trained") / "project",
        finetune=SLOW | {"refresh_steps": 3, "refresh_epochs": 1, "steps": 8},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        step = FakeStep(load_params())
        pretrain.run(step)
        finetune.run(step)
        paths.PREVIOUS.mkdir(parents=True)
        shutil.copy("params.yaml", paths.PREVIOUS)
        for path in (paths.PRETRAINED, paths.FINETUNED):
            shutil.move(path, paths.PREVIOUS)
    return project


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(trained, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def decide(decision: str) -> None:
    save_drift(paths.DRIFT, Drift(decision, "", 2, load(paths.CF_FACTORS).space_id))  # type: ignore[arg-type]


def run() -> None:
    step = FakeStep(load_params())
    pretrain.run(step)
    finetune.run(step)


def grow(rows: int) -> Factors:
    """More items at the end of the catalogue's vectors."""
    factors = load(paths.CF_FACTORS)
    new = np.random.default_rng(1).normal(size=(rows, factors.item_factors.shape[1])).astype(np.float32)
    grown = replace(factors, item_factors=np.concatenate([factors.item_factors, new]))
    save(paths.CF_FACTORS, grown)
    return grown


def test_without_new_items_the_models_are_used_again_byte_for_byte(project: Path) -> None:
    decide("reuse")
    run()
    assert digest(paths.PRETRAINED) == digest(paths.PREVIOUS / "encoder")
    assert digest(paths.FINETUNED) == digest(paths.PREVIOUS / "ilm")


def test_new_items_get_no_part_of_their_own_and_old_ones_keep_their_scores(project: Path) -> None:
    before = HeadRecommender(*load_bridge(paths.PREVIOUS / "ilm"), load(paths.CF_FACTORS))
    histories = [np.array([1, 2, 3], np.int32), np.array([7], np.int32)]
    scores = before.score("sequential", histories)
    decide("reuse")
    factors = grow(2)
    run()
    model, card = load_bridge(paths.FINETUNED)
    assert card.items == ITEMS + 2
    assert model.head.item_embedding is not None and not model.head.item_embedding[ITEMS:].any()
    after = HeadRecommender(model, card, factors).score("sequential", histories)
    # the user's vector is folded in against all items, so scores move a little with the catalogue
    assert np.isfinite(after).all() and after.shape == (2, ITEMS + 2)
    assert np.corrcoef(after[:, :ITEMS].ravel(), scores.ravel())[0, 1] > 0.99


def test_a_refresh_goes_on_from_the_earlier_weights_for_its_own_steps(project: Path) -> None:
    decide("refresh")
    run()
    assert digest(paths.PRETRAINED) == digest(paths.PREVIOUS / "encoder")
    assert [record["step"] for record in read_json(paths.FINETUNED / "history.json")] == [0, 1, 2]
    earlier, now = (load_bridge(folder)[0].state_dict() for folder in (paths.PREVIOUS / "ilm", paths.FINETUNED))
    assert earlier.keys() == now.keys()
    for name in earlier.keys() - {"head.wish_projection.weight", "head.wish_projection.bias"}:
        np.testing.assert_allclose(now[name], earlier[name], atol=1e-6, err_msg=name)


@pytest.mark.parametrize("decision", ["first", "retrain"])
def test_else_everything_is_trained(project: Path, decision: str) -> None:
    decide(decision)
    run()
    assert len(read_json(paths.PRETRAINED / "history.json")) == load_params().pretrain.steps
    assert len(read_json(paths.FINETUNED / "history.json")) == load_params().finetune.steps


def change(section: str, **values: object) -> None:
    settings = yaml.safe_load(Path("params.yaml").read_text())
    settings[section] |= values
    Path("params.yaml").write_text(yaml.safe_dump(settings))


@pytest.mark.parametrize(
    ("section", "setting", "encoder_again"),
    [("pretrain", {"seed": 1}, False), ("finetune", {"seed": 1}, True), ("pairs", {"max_history": 3}, True)],
)
def test_a_changed_setting_trains_what_it_shapes_anew_and_says_so(
    project: Path, capsys: pytest.CaptureFixture[str], section: str, setting: dict[str, object], encoder_again: bool
) -> None:
    decide("reuse")
    change(section, **setting)
    run()
    assert (digest(paths.PRETRAINED) == digest(paths.PREVIOUS / "encoder")) is encoder_again
    assert digest(paths.FINETUNED) != digest(paths.PREVIOUS / "ilm")
    assert len(read_json(paths.FINETUNED / "history.json")) == load_params().finetune.steps
    said = capsys.readouterr().out
    assert "settings changed in" in said
    assert ("it has another encoder" in said) is not encoder_again


def test_models_of_another_space_are_refused(project: Path) -> None:
    decide("reuse")
    save(paths.CF_FACTORS, replace(load(paths.CF_FACTORS), space_id="0" * 16))
    with pytest.raises(ArtifactError, match="CF space"):
        run()


def test_part_of_the_earlier_models_is_refused(project: Path) -> None:
    decide("reuse")
    shutil.rmtree(paths.PREVIOUS / "ilm")
    with pytest.raises(ArtifactError, match="data/previous/ilm: not found, although params.yaml is there"):
        run()
