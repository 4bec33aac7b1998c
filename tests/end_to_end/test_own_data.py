"""The guide of docs/your-data.md, command by command, from two made-up files to a promoted model."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.clone import clone_working_tree
from tests.fake_project import ROOT, child_environment
from tests.pages import bash_blocks
from tests.tiny import save_language_model, save_text_encoder

pytestmark = pytest.mark.slow


def write_shop(folder: Path) -> None:
    chosen = [
        (user, number, (user * 11 + number * (3 * number + 1)) % 70) for user in range(80) for number in range(20)
    ]
    orders = [
        f"c{user},p{item},2024-{1 + number // 2:02}-{1 + user % 28:02}T10:{number:02}:00"
        for user, number, item in chosen
    ]
    (folder / "orders.csv").write_text("\n".join(["customer,sku,bought_at", *orders]) + "\n")
    colours = ("red", "green", "blue")
    products = [f"p{item},Thing number {item},A {colours[item % 3]} thing" for item in range(70)]
    (folder / "products.csv").write_text("\n".join(["sku,name,description", *products]) + "\n")


def test_the_guide_leads_from_two_files_to_a_promoted_model(tmp_path: Path, prefect_home: str) -> None:
    models = str(save_language_model(tmp_path / "models/llm")), str(save_text_encoder(tmp_path / "models/bert"))
    project = clone_working_tree(tmp_path / "project", *models)
    write_shop(project)
    page = (ROOT / "docs/your-data.md").read_text(encoding="utf-8")
    guide = tmp_path / "guide.md"
    guide.write_text(page.split("## By hand")[0], encoding="utf-8")
    commands = [line for block in bash_blocks(guide) for line in block.splitlines()]
    assert commands[0].startswith("ilm init ../shop ")
    folder, printed = project, ""
    for command in commands:
        if command.startswith("cd "):
            folder = (folder / command.removeprefix("cd ")).resolve()
            continue
        words = command.split()[1:] + (["--yes"] if command.startswith("ilm init") else [])
        environment = child_environment() | {
            "PYTHONPATH": str(folder),
            "OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"],
        }
        run = [sys.executable, "-m", "flows.cli", *words]
        done = subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        printed += done.stdout
    assert "champion  version 1" in printed
    assert printed.count("Thing number") >= 5
    assert folder.name == "shop"
