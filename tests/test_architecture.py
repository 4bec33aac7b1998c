"""Imports point one way, training needs few packages, and nothing heavy is imported before it is needed."""

import ast
import sys
from pathlib import Path

import pytest

from tests.fake_project import ROOT, run

LAYERS = {
    "flows": {"flows", "tasks", "ilm"},
    "tasks": {"tasks", "ilm"},
    "ilm": {"ilm"},
}
BASE = {"errors", "files", "free_memory", "params", "setting_rules"}
INSIDE_ILM = {
    "data": set(),
    "cf": set(),
    "prompts": {"cf", "data", "model"},
    "model": {"cf", "data"},
    "train": {"cf", "data", "model", "prompts"},
    "rank": {"cf", "data", "model", "prompts"},
    "eval": {"cf", "data", "model", "prompts", "rank", "train"},
    "baselines": {"cf", "model", "train"},
    "bench": {"baselines", "cf", "data", "eval", "model", "prompts", "rank", "train"},
    "elm": {"cf", "data", "eval", "model", "prompts", "rank", "train"},
    "gate": {"data", "eval", "rank", "serve"},
    "report": {"cf", "data", "eval", "model", "prompts", "rank", "train"},
    "serve": {"cf", "data", "model", "prompts", "rank", "train"},
}
"""What the modules of a folder may import, beside their own folder and BASE."""

LEAN = (
    "ilm/model", "ilm/train", "ilm/rank", "ilm/prompts", "ilm/cf/cold_items.py",
    "ilm/cf/factors.py", "ilm/cf/fold_in.py",
    "ilm/baselines/sasrec.py", "ilm/baselines/sasrec_training.py",
)  # fmt: skip
LEAN_MAY = {
    "accelerate", "gguf", "ilm", "numpy", "pyarrow", "safetensors", "tokenizers", "torch", "tqdm",
    "transformers",
}  # fmt: skip
"""`gguf` and `tokenizers` come with the built-in language model."""

HEAVY = ("torch", "mlflow", "prefect", "great_expectations", "implicit", "pandas", "dvc", "pyspark")
NAME_HEAVY = f"print(*(name for name in {HEAVY} if name in sys.modules))"


def imported(file: Path) -> set[str]:
    """Dotted names of all that a file imports, at its top or inside its functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(*places: str) -> list[str]:
    """Python files below the places, as paths relative to the repository."""
    found = [
        file for place in places for file in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py"))
    ]
    return sorted(str(file.relative_to(ROOT)) for file in found)


@pytest.mark.parametrize("file", files(*LAYERS))
def test_flows_import_tasks_import_ilm_and_never_back(file: str) -> None:
    allowed = LAYERS[file.split("/")[0]]
    assert {name.split(".")[0] for name in imported(ROOT / file)} & LAYERS.keys() <= allowed


@pytest.mark.parametrize("file", [file for file in files("ilm") if file.count("/") > 1])
def test_inside_ilm_imports_point_one_way(file: str) -> None:
    folder = file.split("/")[1]
    others = {name.split(".")[1] for name in imported(ROOT / file) if name.startswith("ilm.")}
    assert others <= INSIDE_ILM[folder] | BASE | {folder}


@pytest.mark.parametrize("file", files(*(f"ilm/{name}.py" for name in BASE)))
def test_base_of_ilm_imports_nothing_of_its_folders(file: str) -> None:
    assert {name.split(".")[1] for name in imported(ROOT / file) if name.startswith("ilm.")} <= BASE


@pytest.mark.parametrize("file", files(*LEAN))
def test_training_and_ranking_need_few_packages(file: str) -> None:
    packages = {name.split(".")[0] for name in imported(ROOT / file)} - set(sys.stdlib_module_names)
    assert packages <= LEAN_MAY


@pytest.mark.parametrize("file", files("ilm"))
def test_ilm_knows_no_prefect_no_dvc_and_mlflow_in_one_file_only(file: str) -> None:
    forbidden = {"prefect", "dvc"} | (set() if file == "ilm/serve/pyfunc.py" else {"mlflow"})
    assert not {name.split(".")[0] for name in imported(ROOT / file)} & forbidden


def test_spark_is_known_to_its_backend_alone_and_backends_to_the_factorisation_alone() -> None:
    names = {file: imported(ROOT / file) for file in files("ilm", "tasks", "flows")}
    spark = {file for file, found in names.items() if {name.split(".")[0] for name in found} & {"pyspark", "py4j"}}
    assert spark == {"ilm/cf/backends/spark_mllib.py", "ilm/cf/backends/spark_session.py"}
    backends = {file for file, found in names.items() if any(name.startswith("ilm.cf.backends") for name in found)}
    assert {file for file in backends if not file.startswith("ilm/cf/backends/")} == {"ilm/cf/als.py"}


@pytest.mark.parametrize("file", files("ilm", "tasks", "flows"))
def test_no_pickle_is_read_or_written(file: str) -> None:
    source = (ROOT / file).read_text(encoding="utf-8")
    assert not {name.split(".")[0] for name in imported(ROOT / file)} & {"pickle", "joblib", "cloudpickle", "dill"}
    assert "torch.load(" not in source
    assert "torch.save(" not in source
    assert "allow_pickle=True" not in source


@pytest.mark.parametrize(
    "module",
    ["flows.cli", "flows.stages", "tasks.step", *(f.removesuffix(".py").replace("/", ".") for f in files("tasks"))],
)
def test_importing_a_task_or_the_command_line_imports_nothing_heavy(module: str) -> None:
    assert run(ROOT, "-c", f"import sys, {module}; {NAME_HEAVY}").stdout == "\n"


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys; from flows.cli import main; sys.argv = ['ilm', '--help']\ntry: main()\nfinally: {NAME_HEAVY}"
    printed = run(ROOT, "-c", code).stdout
    assert "recommend" in printed
    assert printed.splitlines()[-1] == ""


def test_docstring_opens_every_module() -> None:
    lacking = [
        file for file in files("ilm", "tasks", "flows") if not ast.get_docstring(ast.parse((ROOT / file).read_text()))
    ]
    assert lacking == []


def test_no_file_is_long() -> None:
    lengths = {file: (ROOT / file).read_text().count("\n") for file in files("ilm", "tasks", "flows", "tests")}
    assert {file: lines for file, lines in lengths.items() if lines > 500} == {}
