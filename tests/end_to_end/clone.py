"""A clone of the working tree in which the whole pipeline runs in about a minute: few users, few training steps."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.fake_project import ROOT, git, run

SMALL: dict[str, dict[str, Any]] = {
    "split": {"min_user_interactions": 150, "min_item_interactions": 20},
    "cf": {"factors": 8, "iterations": 3},
    "model": {"layers": 2, "queries": 2, "cf_tokens": 2, "soft_tokens": 1},
    "pretrain": {"steps": 20, "batch_size": 8, "interaction_batch_size": 16, "warmup": 1, "checkpoint_every": 5},
    "finetune": {"steps": 60, "step_tokens": 240, "warmup": 1, "checkpoint_every": 10, "context_epochs": 1},
    "evaluate": {"bootstrap_samples": 100},
}


def clone_working_tree(folder: Path, llm: str, text_encoder: str) -> Path:
    """Copy what git tracks or would track, commit it, and make its settings small."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():  # a deleted file is still listed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    settings = yaml.safe_load((folder / "params.yaml").read_text())
    for section, values in SMALL.items():
        settings[section] |= values
    settings["model"] |= {"llm": llm, "text_encoder": text_encoder}
    (folder / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "clone")
    return folder


def ilm(project: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line `ilm` with the clone's own code."""
    return run(project, "-m", "flows.cli", *words, PYTHONPATH=str(project))


def change_setting(project: Path, section: str, name: str, value: Any) -> None:
    """Change one setting in params.yaml."""
    settings = yaml.safe_load((project / "params.yaml").read_text())
    settings[section][name] = value
    (project / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
