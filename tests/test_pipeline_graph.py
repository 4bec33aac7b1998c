"""dvc.yaml, the flow's chain, the tasks and params.yaml say the same."""

import re
from itertools import pairwise
from pathlib import Path

import networkx
import pytest
import yaml
from dvc.repo import Repo
from pydantic import BaseModel

from flows.stages import STEPS
from ilm.params import Params, load_params
from tasks import paths
from tests.fake_project import ROOT
from tests.test_architecture import imported

GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
SHARED = {"errors", "files", "free_memory", "params"}
"""Modules of `ilm` beside the folders; too small and too often touched to rerun every step for."""


def chain_follows(chain: tuple[str, ...], graph: "networkx.DiGraph[str]") -> bool:
    """The chain has every stage once, and each after those it depends on (an edge points to a dependency)."""
    position = {name: place for place, name in enumerate(chain)}
    return (
        len(chain) == len(position)
        and position.keys() == set(graph.nodes)
        and all(position[dependency] < position[stage] for stage, dependency in graph.edges)
    )


def stage_graph() -> "networkx.DiGraph[str]":
    return networkx.relabel_nodes(Repo(str(ROOT)).index.graph, lambda stage: stage.addressing)


def test_flow_walks_every_stage_after_those_it_depends_on() -> None:
    assert chain_follows(STEPS, stage_graph())


@pytest.mark.parametrize("chain", [STEPS[:-1], (*STEPS, "extra"), (*STEPS, STEPS[0]), (STEPS[1], STEPS[0], *STEPS[2:])])
def test_chain_that_differs_from_dvc_yaml_is_noticed(chain: tuple[str, ...]) -> None:
    assert not chain_follows(chain, stage_graph())


def test_stages_are_written_in_the_order_in_which_they_run() -> None:
    assert tuple(GRAPH) == STEPS


@pytest.mark.parametrize("name", STEPS)
def test_stage_runs_its_task_and_depends_on_its_code_and_settings(name: str) -> None:
    stage = GRAPH[name]
    assert stage["cmd"] == f"python -m tasks.{name}"
    assert {f"tasks/{name}.py", "tasks/step.py"} <= set(stage["deps"])
    assert f"reports/cost/{name}.json" in stage["metrics"]


@pytest.mark.parametrize("name", STEPS)
def test_stage_depends_on_all_folders_of_ilm_that_its_task_imports(name: str) -> None:
    folders, queue = set(), [ROOT / f"tasks/{name}.py"]
    seen: set[Path] = set()
    while queue:
        file = queue.pop()
        if file in seen:
            continue
        seen.add(file)
        for module in imported(file):
            parts = module.split(".")
            if parts[0] == "ilm" and len(parts) > 1 and parts[1] not in SHARED:
                folders.add(f"ilm/{parts[1]}")
                queue += module_files(parts)
    assert folders <= set(GRAPH[name]["deps"])


@pytest.mark.parametrize("name", STEPS)
def test_task_reads_only_settings_that_its_stage_depends_on(name: str) -> None:
    source = (ROOT / f"tasks/{name}.py").read_text()
    read = {match.replace("validate_", "validate") for match in re.findall(r"step\.params\.(\w+(?:\.\w+)?)", source)}
    entries = [f"{entry}." for entry in GRAPH[name]["params"]]
    undeclared = {setting for setting in read if not f"{setting}.".startswith(tuple(entries))}
    assert undeclared <= {"model_dump"}, "the report may show all settings"


@pytest.mark.parametrize("name", STEPS)
def test_stage_names_the_same_files_as_its_task(name: str) -> None:
    source = (ROOT / f"tasks/{name}.py").read_text()
    used = {str(getattr(paths, constant)) for constant in re.findall(r"\bpaths\.([A-Z_]+)", source)}
    used -= {str(paths.COST), str(paths.CHECKPOINTS)}
    entries = [*GRAPH[name]["deps"], *GRAPH[name]["outs"], *GRAPH[name]["metrics"]]
    listed = {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}  # or {path: options}
    assert used <= listed


def test_params_yaml_lists_every_setting_with_its_default() -> None:
    assert load_params(ROOT / "params.yaml") == Params()
    written = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert keys(written) == keys(Params().model_dump(by_alias=True))


def test_sections_of_params_yaml_are_in_the_order_of_the_steps() -> None:
    sections = [name for name in yaml.safe_load((ROOT / "params.yaml").read_text()) if name in {*STEPS}]
    order = [STEPS.index(name) for name in sections]
    assert all(first < second for first, second in pairwise(order))


def test_every_section_belongs_to_a_stage_or_to_what_is_outside_the_pipeline() -> None:
    used = {entry.split(".")[0] for stage in GRAPH.values() for entry in stage["params"]}
    fields = {field.alias or name for name, field in Params.model_fields.items()}
    assert fields - used == {"elm", "gate", "registry", "retrain", "sasrec", "train"}
    assert all(issubclass(field.annotation, BaseModel) for field in Params.model_fields.values() if field.annotation)


def module_files(parts: list[str]) -> list[Path]:
    """Files that importing the dotted name runs, inside the repository."""
    places = [ROOT.joinpath(*parts[: depth + 1]) for depth in range(1, len(parts))]
    candidates = [file for place in places for file in (place / "__init__.py", place.with_suffix(".py"))]
    return [file for file in candidates if file.exists()]


def keys(tree: object, prefix: str = "") -> set[str]:
    """Dotted names of all settings."""
    if not isinstance(tree, dict) or not tree:
        return {prefix}
    return {name for key, value in tree.items() for name in keys(value, f"{prefix}.{key}")}
