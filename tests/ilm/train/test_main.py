"""`python -m ilm.train` without the pipeline's packages does what the pipeline's steps do, to the byte."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_logs import FakeStep

from ilm.errors import ArtifactError, ConfigError
from ilm.files import digest, read_json
from ilm.params import load_params
from ilm.train.settings import read_settings
from tasks import finetune, paths, pretrain
from tasks.export import export_features
from tests.fake_project import ROOT
from tests.tiny_project import write_project

FORBIDDEN = ["pydantic", "polars", "pandas", "mlflow", "dvc", "prefect", "great_expectations", "implicit", "matplotlib"]
LEAN = f"""
import runpy, sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {FORBIDDEN} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
for words in sys.argv[1].split(";"):
    sys.argv = ["ilm.train", *words.split()]
    runpy.run_module("ilm.train", run_name="__main__")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("tiny") / "project")


@pytest.fixture(scope="module")
def features(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "features"
    export_features(project, folder)
    return folder


def run_lean(folder: Path, *commands: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-c", LEAN, ";".join(commands)]
    return subprocess.run(words, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)


def test_entry_point_without_the_pipelines_packages_writes_the_steps_bytes(
    project: Path, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run_lean(
        tmp_path, f"pretrain --features {features} --out m/encoder", f"finetune --features {features} --out m/ilm"
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(project)
    step = FakeStep(load_params())
    pretrain.run(step)
    finetune.run(step)
    assert digest(tmp_path / "m/encoder") == digest(paths.PRETRAINED)
    assert digest(tmp_path / "m/ilm") == digest(paths.FINETUNED)


def test_mistake_of_a_user_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    done = run_lean(tmp_path, "pretrain --features nowhere --out out")
    assert done.returncode == 2
    assert done.stderr.startswith("error: nowhere/settings.json: not found.")
    assert "Traceback" not in done.stderr


def test_override_changes_one_setting(features: Path) -> None:
    plain = read_settings(features, [])
    changed = read_settings(features, ["finetune.steps=900", "pretrain.learning_rate=1", "model.llm=7"])
    assert changed["finetune"] == plain["finetune"] | {"steps": 900}
    assert (changed["pretrain"]["learning_rate"], changed["model"]["llm"]) == (1.0, "7")


@pytest.mark.parametrize(
    "override",
    [
        "finetune.step=900",  # unknown setting
        "finetuning.steps=900",  # unknown section
        "finetune=900",  # a section
        "finetune.steps",  # no value
        "finetune.steps=many",  # type
        "finetune.steps=true",  # type
        "finetune.steps=0",  # limit
        "finetune.item_embedding=1",  # type
        "pretrain.held_out_fraction=1.5",  # limit
        "pretrain.recipe=IT-III",  # choice
        "model.precision=fp16",  # choice
    ],
)
def test_override_that_params_yaml_would_not_allow_is_refused(features: Path, override: str) -> None:
    with pytest.raises(ConfigError, match=override.split("=")[0]):
        read_settings(features, [override])


def test_all_wrong_overrides_are_named_at_once(features: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)2 wrong.*finetune\.step=1.*model\.width=2"):
        read_settings(features, ["finetune.step=1", "model.width=2"])


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": {}}'])
def test_damaged_settings_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ArtifactError):
        read_settings(tmp_path, [])


def test_exported_settings_are_those_of_params_yaml(project: Path, features: Path) -> None:
    expected = load_params(project / "params.yaml").model_dump(by_alias=True)
    assert read_json(features / "settings.json")["settings"] == json.loads(json.dumps(expected))


def test_export_overwrites_an_export_but_nothing_else(project: Path, tmp_path: Path) -> None:
    export_features(project, tmp_path / "features")
    export_features(project, tmp_path / "features")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("words")
    with pytest.raises(ArtifactError, match="something else"):
        export_features(project, tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").read_text() == "words"


def test_export_without_features_names_them(project: Path, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((project / "params.yaml").read_text())
    with pytest.raises(ArtifactError, match=r"cf\.safetensors"):
        export_features(tmp_path, tmp_path / "features")
