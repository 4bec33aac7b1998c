"""Great Expectations and PySpark in one environment: neither sees the other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_project import ROOT

CODE = """
import sys
if sys.argv[1:]:
    import pyspark
    first = pyspark
from ilm.data.expectations import load
print(load().__name__, load("great_expectations.expectations").__name__)
import pyspark
if sys.argv[1:]:
    assert pyspark is first
"""


@pytest.mark.parametrize("earlier", [[], ["imported"]])
def test_great_expectations_does_not_import_pyspark_which_can_be_imported_afterwards(
    tmp_path: Path, earlier: list[str]
) -> None:
    (tmp_path / "pyspark").mkdir()
    (tmp_path / "pyspark/__init__.py").write_text("print('pyspark is imported')")
    (tmp_path / "pyspark/sql.py").write_text("print('its tables, too')")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", CODE, *earlier], env=environment, capture_output=True, text=True)
    lines = ["great_expectations great_expectations.expectations", "pyspark is imported"]
    assert done.stdout.splitlines() == (lines[::-1] if earlier else lines), done.stderr
