"""Step `report` at the end of a tiny pipeline: true models, but for their size."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from small_logs import USERS, FakeStep, with_params, write_logs

from ilm.errors import ArtifactError
from ilm.files import read_json
from ilm.params import Params
from tasks import cf, evaluate, finetune, ingest, pairs, paths, pretrain, report, split
from tests.tiny import save_language_model, save_text_encoder

STEPS = (ingest, split, cf, pairs, pretrain, finetune, evaluate)


def settings(models: Path, encoder: str) -> Params:
    return with_params(
        cf={"factors": 4, "iterations": 3},
        model={
            "text_encoder": str(models / "bert"), "llm": str(models / "llama"), "layers": 2, "queries": 2,
            "cf_tokens": 2, "encoder": encoder,
        },
        pretrain={
            "recipe": "IT-II" if encoder == "qformer" else "none", "steps": 2, "batch_size": 6, "paired_rows": 3,
            "interaction_batch_size": 8, "warmup": 1, "max_text_tokens": 16,
        },
        finetune={
            "steps": 2, "context_epochs": 1, "warmup": 1,
            "mixture": {"sequential": 3, "straightforward": 2, "title": 1},
        },
        evaluate={"bootstrap_samples": 100, "conversation_users": 3},
    )  # fmt: skip


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Params]]:
    """Gives a folder after the step `evaluate`, with a kind of encoder, and its settings. Not to be changed."""
    models = tmp_path_factory.mktemp("models")
    save_text_encoder(models / "bert")
    save_language_model(models / "llama")
    made: dict[str, tuple[Path, Params]] = {}

    def make(encoder: str) -> tuple[Path, Params]:
        if encoder not in made:
            folder, params = tmp_path_factory.mktemp(encoder), settings(models, encoder)
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                write_logs(folder / "data/raw")
                for step in STEPS:
                    step.run(FakeStep(params))
            made[encoder] = folder, params
        return made[encoder]

    return make


@pytest.fixture
def params(
    evaluated: Callable[[str], tuple[Path, Params]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Params:
    """Settings of the run whose copy is the current folder; a Q-Former's, if the test names no other encoder."""
    folder, found = evaluated(getattr(request, "param", "qformer"))
    shutil.copytree(folder, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return found


def test_ranks_of_the_five_users_are_those_of_the_evaluation(params: Params) -> None:
    report.run(FakeStep(params))
    scores = pl.read_parquet(paths.SCORES).filter(system="ilm", task="sequential")
    ranks = dict(scores.join(pl.read_parquet(paths.USER_IDS), on="user_index")["user_id", "rank_filtered"].iter_rows())
    shown = read_json(paths.SHOWCASE)["users"]
    assert len(shown) == 5
    assert {user["user"]: user["rank"] for user in shown} == {user["user"]: ranks[user["user"]] for user in shown}


def test_showcase_tells_of_this_run(params: Params) -> None:
    report.run(FakeStep(params))
    showcase = read_json(paths.SHOWCASE)
    assert showcase["settings"] == params.model_dump(by_alias=True)
    assert showcase["model"] == {"encoder": "qformer", "recipe": "IT-II", "language_model": params.model.llm}
    assert [len(showcase["training"][stage]) for stage in ("stage1", "stage2")] == [2, 2]
    assert list(showcase["item_space"]["spaces"]) == ["cf", "encoder"]
    assert showcase["test_users"] == showcase["prompt_tokens"]["requests"] == USERS
    assert showcase["prompt_tokens"]["model"] < showcase["prompt_tokens"]["text"]


def test_page_shows_numbers_and_showcase(params: Params) -> None:
    report.run(FakeStep(params))
    page = paths.REPORT.read_text(encoding="utf-8")
    value = read_json(paths.METRICS)["systems"]["ilm"]["sequential"]["filtered"]["hr_at_10"]
    assert f"{value:.4f}" in page
    assert "User u00" in page
    assert "bootstrap_samples: 100" in page


def test_again_gives_equal_bytes(params: Params) -> None:
    outputs = (paths.SHOWCASE, paths.REPORT)
    report.run(FakeStep(params))
    before = [path.read_bytes() for path in outputs]
    report.run(FakeStep(params))
    assert [path.read_bytes() for path in outputs] == before


@pytest.mark.parametrize(("params", "spaces"), [("mlp", ["cf", "encoder"]), ("text", ["cf"])], indirect=["params"])
def test_other_encoders_have_what_they_can_have(params: Params, spaces: list[str]) -> None:
    report.run(FakeStep(params))
    showcase = read_json(paths.SHOWCASE)
    assert list(showcase["item_space"]["spaces"]) == spaces
    assert showcase["retrieval"] == []
    page = paths.REPORT.read_text(encoding="utf-8")
    assert page.count('<svg class="items"') == len(spaces)
    assert "What stage 1 finds" not in page


@pytest.mark.parametrize("missing", [paths.METRICS, paths.FINETUNED / "model.safetensors", paths.EXAMPLES])
def test_missing_input_is_a_message_and_nothing_is_written(params: Params, missing: Path) -> None:
    missing.unlink()
    with pytest.raises(ArtifactError, match=missing.name):
        report.run(FakeStep(params))
    assert not paths.SHOWCASE.exists()
    assert not paths.REPORT.exists()
