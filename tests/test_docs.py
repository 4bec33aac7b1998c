"""The documents say what is true: every setting with its default, every command that exists, every link."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from benchmarks.scale_table import catalogues, logs, measured
from flows.cli import app, as_parsed
from ilm.files import read_json
from ilm.params import Params
from tests.pages import bash_blocks

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def defaults():
    return [
        (section, name, value)
        for section, values in Params().model_dump(by_alias=True).items()
        for name, value in values.items()
    ]


@pytest.mark.parametrize(("section", "name", "value"), defaults(), ids=lambda value: str(value))
def test_settings_page_lists_the_setting_with_its_default_and_a_meaning(section, name, value):
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    part = page.split(f"\n## `{section}`\n")[1].split("\n## ")[0]
    (row,) = (line for line in part.splitlines() if line.startswith(f"| `{name}` |"))
    _, default, meaning = (cell.strip() for cell in row.strip("|").split("|", 2))
    assert yaml.safe_load(default.strip("`")) == value
    assert len(meaning) > 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    commands = get_command(app).commands
    assert set(re.findall(r"(?:^|`)ilm ([a-z-]+)", text, re.MULTILINE)) <= set(commands)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_of_a_page_can_be_parsed(page):
    """Options are there and their values are of the right kind; nothing is run."""
    commands = get_command(app).commands
    for block in bash_blocks(page):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["ilm"] and not {"&&", "|", ">"} & set(words):
                commands[words[1]].make_context(words[1], as_parsed(words[2:]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page):
    links = re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_page_on_scale_has_the_tables_that_its_figures_give():
    page, found = (ROOT / "docs/scale.md").read_text(encoding="utf-8"), read_json(ROOT / "docs/scale.json")
    assert all(table in page for table in (measured(found), logs(found), catalogues()))


def test_the_site_is_built_without_a_dead_link_and_fetches_nothing(tmp_path):
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        build, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {page: page.read_text(encoding="utf-8") for page in tmp_path.rglob("*.html")}
    assert len(pages) > 20
    for page, text in pages.items():
        fetched = re.findall(r"<(?:script|img|link|iframe)[^>]*(?:src|href)=[\"']?(?:https?:)?//[^\s>]*", text)
        assert fetched == [], page


def test_a_dead_link_stops_the_site(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("[gone](nowhere.md)", encoding="utf-8")
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("nav:")[0]
    (tmp_path / "mkdocs.yml").write_text(settings, encoding="utf-8")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "nowhere.md" in done.stdout + done.stderr
