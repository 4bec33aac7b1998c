"""The fake project as one that can be retrained: its log is a table; a test says when it pauses, and the verdict."""

from pathlib import Path

from tests.fake_project import ILM, ROOT, git, make_project

INGEST = """\
def ingest(step: Step) -> None:
    rows = Path("data/raw/log.txt").read_text().split()
    with replaced(paths.INTERACTIONS) as temporary:
        pq.write_table(pa.table({"row": rows}), temporary)
    write_text(paths.ITEMS, "items")


"""
PAUSE = """\
import os


def paused(place):
    return Path(os.environ.get("PAUSE", "/nowhere"), place).exists()


"""
GATE = """\
import os
import sys
from pathlib import Path
from types import SimpleNamespace


def judge(challenger, champion, *, interactions, items, params, code, out, bootstrap=False):
    out.mkdir(parents=True)
    (out / "decision.json").write_text("{}")
    print("judged", flush=True)
    while Path(os.environ.get("PAUSE", "/nowhere"), "gate").exists():
        pass
    verdict = os.environ["GATE_SAYS"]
    return SimpleNamespace(outcome=verdict, reasons=("The test said so.",), promotes=verdict == "promote")


sys.modules["ilm.gate.judge"] = SimpleNamespace(judge=judge)
"""
"""Stands in for the gate, whose tests are in tests/ilm/gate, and does not import torch."""


def make_retrain_project(folder: Path, least: int = 1) -> Path:
    """As `make_project`; in its command line the gate says GATE_SAYS.

    Step `cf` and that gate pause while a file of their name (cf, gate) lies in the folder that PAUSE names.
    """
    project = make_project(folder)
    code = (project / "fake.py").read_text()
    start, end = code.index("def ingest("), code.index("def cf(")
    code = code[:start] + PAUSE + INGEST + code[end:].replace('Path("pause").exists()', 'paused("cf")')
    code = code.replace("from ilm.errors", "import pyarrow as pa\nimport pyarrow.parquet as pq\n\nfrom ilm.errors")
    (project / "fake.py").write_text(code)
    (project / "ilm_command.py").write_text(GATE + ILM)
    settings = (project / "params.yaml").read_text() + f"retrain:\n  min_new_interactions: {least}\n"
    (project / "params.yaml").write_text(settings)
    (project / ".dvcignore").write_text((ROOT / ".dvcignore").read_text())
    (project / "data/raw/log.txt").write_text("a b c\n")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", "retrain")
    return project
