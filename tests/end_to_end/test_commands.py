"""The command lines of the documents: run here as they stand, their like run in the test that is named for it, or run
by no test, for a reason that is told."""

import gzip
import shlex
import shutil
from pathlib import Path

import pytest

from ilm.data.schema import USER_IDS, read_table
from tests.fake_project import ROOT, run
from tests.pages import bash_blocks

BY_NOBODY = {
    "make": "runs the tests, or hours; people and CI start it",
    "source": "for a person's shell",
    "systemctl": "there is no systemd where tests run",
    "loginctl": "likewise",
    "mlflow ui": "is `mlflow server`, which tests/flows/test_registry_servers.py starts",
}
"""Beginnings of lines, and why."""
ELSEWHERE = {
    "ilm recommend --all-users": "tests/end_to_end/test_in_use.py",
    "ilm serve": "tests/flows/test_serve.py",
    "ILM_API_KEY": "tests/flows/test_serve_door.py",
    "curl": "tests/flows/test_serve.py",
    "mlflow models": "tests/end_to_end/test_in_use.py",
    "ilm export ": "tests/end_to_end/test_in_use.py",
    "ilm schedule --run": "tests/flows/test_schedule_real.py",
    "ilm schedule --status": "tests/flows/test_schedule_real.py",
    "ilm schedule --unit": "tests/flows/test_schedule_server.py",
    "ilm schedule": "tests/flows/test_schedule.py",
    "ilm rollback": "tests/flows/test_rollback.py",
    "ilm promote": "tests/flows/test_promotion.py",
    "ilm compare": "tests/flows/test_compare.py",
    "ilm checkout": "tests/flows/test_checkout.py",
    "ilm bench": "tests/flows/test_bench.py",
    "ilm ablate": "tests/flows/test_bench.py",
    "python -m ilm.bench": "tests/flows/test_bench.py",
    "ilm elm": "tests/flows/test_elm.py",
    "python -m ilm.elm": "tests/ilm/elm/test_elm_run.py",
    "torchrun": "tests/tasks/test_launch_training.py",
}
"""Beginnings of lines that take hours, serve, or want what is not there; and the test that runs their like."""
PAGES_ELSEWHERE = {
    "team.md": "tests/end_to_end/test_team.py",
    "your-data.md": "tests/end_to_end/test_own_data.py",
    "export.md": "tests/end_to_end/test_in_use.py",
}


def lines() -> list[tuple[str, str]]:
    """(page, line) of all blocks that are for the shell, without comments."""
    found = []
    for page in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]):
        for block in bash_blocks(page):
            found += [(page.name, line) for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    return found


def not_here(page: str, line: str) -> str | None:
    """The test that runs its like, or why none does; None if the line is run here."""
    named = [test for beginning, test in (BY_NOBODY | ELSEWHERE).items() if line.startswith(beginning)]
    return PAGES_ELSEWHERE.get(page) or next(iter(named), None)


def test_tests_that_run_the_other_commands_are_there() -> None:
    named = {not_here(page, line) for page, line in lines()} - {None}
    assert named == {*BY_NOBODY.values(), *ELSEWHERE.values(), *PAGES_ELSEWHERE.values()}, "no page has such a line"
    assert all((ROOT / test).is_file() for test in {*ELSEWHERE.values(), *PAGES_ELSEWHERE.values()})


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["tiny"], indirect=True)
def test_commands_of_the_pages_work_as_they_stand(trained: Path, tmp_path: Path) -> None:
    """But for the users' numbers: the small project does not know users 1 and 42."""
    project = Path(shutil.copytree(trained, tmp_path / "project", symlinks=True))
    user = read_table(project / "data/features/user_ids.parquet", USER_IDS)["user_id"][0]
    for file in ("2024-05.csv.gz", "new/2024-05-01.csv.gz"):
        (project / file).parent.mkdir(exist_ok=True)
        with gzip.open(project / file, "wt") as log:
            log.write(f"user_id,item_id,timestamp\n{user},1,2024-05-01T10:00:00\n")
    tried = [(page, line) for page, line in lines() if not not_here(page, line)]
    assert len(tried) > 15
    for page, line in tried:
        words = [user if word in ("1", "42") else word for word in shlex.split(line, comments=True)]
        if words[0] == "cp":
            shutil.copy(project / words[1], project / words[2])
            continue
        module = {"ilm": "flows.cli", "dvc": "dvc"}[words[0]]
        done = run(project, "-m", module, *words[1:], PYTHONPATH=str(project))
        assert done.returncode == 0, f"{page}: {line}\n{done.stdout}\n{done.stderr}"
