"""A benchmark on tiny logs with tiny models, and a project to run it in."""

import shutil
from pathlib import Path

from small_logs import HISTORY, ITEMS, PARAMS, USERS

from flows.presets import Benchmark
from tests.conftest import put_store
from tests.fake_project import ROOT, git

MODEL_FREE = {"validate": PARAMS.validate_.model_dump(), "split": PARAMS.split.model_dump(), "cf": {"factors": 4}}
SASREC = {"width": 8, "layers": 1, "heads": 1, "max_length": 4, "epochs": 2, "warmup": 1}
SMALL = {
    "sasrec": SASREC,
    "pretrain": {
        "steps": 4, "batch_size": 8, "paired_rows": 4, "interaction_batch_size": 8, "warmup": 1,
        "max_text_tokens": 16, "checkpoint_every": 2,
    },
    "finetune": {"steps": 4, "context_epochs": 1, "warmup": 1, "checkpoint_every": 2},
    "evaluate": {"bootstrap_samples": 200},
}  # fmt: skip


def tiny_benchmark(models: Path, **changes: object) -> Benchmark:
    model = {
        "text_encoder": str(models / "bert"), "llm": str(models / "llama"), "layers": 2, "queries": 2, "cf_tokens": 2,
    }  # fmt: skip
    settings = {**MODEL_FREE, **SMALL, "model": model, "data": {"untitled_items": "name"}}
    sizes = {"users": USERS, "items": ITEMS, "interactions": USERS * HISTORY}
    return Benchmark("tiny", "amazon", "reviews.json", **sizes | changes, published="us", settings=settings)


def make_project(folder: Path, empty_store: Path) -> Path:
    folder.mkdir()
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore"):
        shutil.copyfile(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "start")
    put_store(empty_store, folder)
    return folder
