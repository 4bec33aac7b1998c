"""The pipeline's steps up to `pairs` in a folder of a benchmark's own, where DVC is not: the same steps, settings of
the benchmark, and a stamp per step, so that only what a change concerns runs again."""

import contextlib
import importlib
import json
from hashlib import sha256
from pathlib import Path

import yaml

import ilm
from flows.stages import STEPS
from ilm.files import digest, read_json, write_json, write_text
from ilm.params import Params
from tasks.lineage import Stage, read_stage
from tasks.step import run_step

FEATURE_STEPS = STEPS[: STEPS.index("pairs") + 1]
STAMPS = Path("stamps")
CODE_ROOT = Path(ilm.__file__).parents[1]


def make_features(folder: Path, params: Params, graph: Path, steps: tuple[str, ...] = FEATURE_STEPS) -> list[str]:
    """Bring the steps' outputs in `folder` up to date.

    Args:
        folder: the benchmark's; params.yaml is written there.
        params: all settings; `data.folder` must be absolute, unless the data are built in.
        graph: the project's dvc.yaml, which says what each step reads and writes.
        steps: some of FEATURE_STEPS, in order.

    Returns:
        The steps that had to run.

    Raises:
        IlmError: a step failed.
    """
    for empty in (params.data.folder, params.data.logs, "data/previous"):
        if not (folder / empty).exists():
            (folder / empty).mkdir(parents=True)
    write_text(folder / "params.yaml", yaml.safe_dump(params.model_dump(by_alias=True), sort_keys=False))
    ran = []
    with contextlib.chdir(folder):  # steps know their files relative to the project's root
        for name in steps:
            stage, stamp = read_stage(name, params, graph), STAMPS / f"{name}.json"
            key = _key(stage)
            if stamp.exists() and read_json(stamp) == key and all(path.exists() for path in stage.outputs):
                continue
            stamp.unlink(missing_ok=True)  # a step that is killed half-way leaves none
            run_step(name, importlib.import_module(f"tasks.{name}").run, graph)
            write_json(stamp, key)
            ran.append(name)
    return ran


def _key(stage: Stage) -> str:
    whole = sha256(json.dumps(stage.settings, sort_keys=True).encode())
    for path in stage.inputs:
        whole.update(f"{path} {digest(path)}\n".encode())
    for place in (CODE_ROOT / code for code in stage.code):
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            whole.update(f"{file.relative_to(CODE_ROOT)} {digest(file)}\n".encode())
    return whole.hexdigest()[:16]
