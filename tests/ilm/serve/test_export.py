"""An exported folder is all it takes, is refused if it is changed, and holds no more than it should."""

import re
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
from ilm.serve.export import REQUIREMENTS, export


@pytest.fixture
def exported(model_folder: Path, tmp_path: Path) -> Path:
    export(model_folder, tmp_path / "out", users=True, language_model=True, origin={"git.commit": "abc"})
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
    assert said[1:-2] == wanted.splitlines()
    assert said[-1].startswith(str(exported))


def test_the_example_of_its_card_runs(exported, capsys, monkeypatch):
    monkeypatch.chdir(exported)
    example = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)
    assert len(example) == 1
    exec(example[0])
    assert "item_id" in capsys.readouterr().out


def test_the_card_says_how_it_was_made_and_under_which_terms(exported):
    card = (exported / "README.md").read_text()
    for words in ("| git.commit | `abc` |", "Made up, for tests.", "Apache License 2.0", "## Known limits"):
        assert words in card


@pytest.mark.parametrize("name", ["ilm/rank/head.py", "language_model/model.safetensors", "catalogue.parquet"])
def test_nothing_in_it_can_be_changed_unnoticed(exported, name):
    with (exported / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(ArtifactError, match=f"{name} was changed"):
        ItemLanguageModel.from_pretrained(exported)


def test_without_users_no_history_leaves_the_house(model_folder, tmp_path):
    export(model_folder, tmp_path / "out", users=False, language_model=True, origin={})
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"alice" not in path.read_bytes(), path
    assert not cf_factors.load(tmp_path / "out" / "cf.safetensors").user_factors.any()
    model = ItemLanguageModel.from_pretrained(tmp_path / "out")
    assert model.rank(history=["i0"], k=2)
    with pytest.raises(LookupFailed, match="handed on without its users"):
        model.rank(user="alice")
    assert "holds no histories of users" in (tmp_path / "out" / "README.md").read_text()


def test_without_the_language_model_it_is_found_by_its_name(model_folder, tmp_path):
    export(model_folder, tmp_path / "out", users=True, language_model=False, origin={})
    assert not (tmp_path / "out" / "language_model").exists()
    assert ItemLanguageModel.from_pretrained(tmp_path / "out").rank(user="alice", k=1)
    assert "The language model is not in the folder" in (tmp_path / "out" / "README.md").read_text()


def test_an_export_can_be_exported_again_and_holds_no_pickle(exported, tmp_path):
    export(exported, tmp_path / "again", users=True, language_model=True, origin={"git.commit": "abc"})
    assert {path.suffix for path in exported.rglob("*") if path.is_file()} <= {
        ".json", ".jinja", ".md", ".parquet", ".py", ".safetensors", ".txt",
    }  # fmt: skip
    assert (tmp_path / "again" / "README.md").read_text().count("## Use of this folder") == 1


def test_a_folder_with_something_in_it_is_left_alone(model_folder, tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(ArtifactError, match="is there already"):
        export(model_folder, tmp_path, users=True, language_model=True, origin={})
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
