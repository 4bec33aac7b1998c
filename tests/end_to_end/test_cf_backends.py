"""CF backends on the built-in data: the step as the pipeline runs it, and what the vectors are worth."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ilm.cf.drift import load_drift
from ilm.cf.factors import load
from tests.end_to_end.clone import clone_working_tree
from tests.fake_project import ROOT, run
from tests.ilm.cf.test_backends import needs_spark

pytestmark = needs_spark
MADE = ("user_ids.parquet", "item_ids.parquet", "cf.safetensors", "anchor.safetensors", "drift.json")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the built-in data, ready for step `cf` and for being asked what it would recommend."""
    made = clone_working_tree(tmp_path_factory.mktemp("cf") / "project", "smollm2-135m-instruct", "all-minilm-l6-v2")
    shutil.copyfile(ROOT / "params.yaml", made / "params.yaml")  # nothing is made small
    for step in ("ingest", "validate", "split", "pairs"):
        done = run(made, "-m", f"tasks.{step}")
        assert done.returncode == 0, done.stdout + done.stderr
    return made


def test_quality_is_within_three_per_cent_of_the_default_backends_over_five_seeds(project: Path) -> None:
    done = run(project, "-m", "benchmarks.cf_backends", "--seeds", "5", "implicit-cpu", "spark")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = json.loads((project / "reports/cf-backends.json").read_text())
    ndcg = {
        backend: np.mean([line["ndcg_at_10"] for line in lines if line["backend"] == backend])
        for backend in ("implicit-cpu", "spark")
    }
    assert len(lines) == 10
    assert ndcg["spark"] == pytest.approx(ndcg["implicit-cpu"], rel=0.03)


def test_a_change_of_the_engine_stays_in_the_space_of_the_generation_before(project: Path) -> None:
    done = run(project, "-m", "tasks.cf")
    assert done.returncode == 0, done.stdout + done.stderr
    features, previous = project / "data/features", project / "data/previous"
    for name in MADE:
        (previous / name).write_bytes((features / name).read_bytes())
    settings = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(settings.replace("backend: implicit-cpu", "backend: spark"))
    done = run(project, "-m", "tasks.cf")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cf  Spark at local[2], 20 iterations" in done.stdout
    before, after = load(previous / "cf.safetensors"), load(features / "cf.safetensors")
    drift = load_drift(features / "drift.json")
    assert (drift.decision, after.space_id) == ("refresh", before.space_id)
    assert drift.cosine is not None
    assert drift.cosine > 0.7
    assert not list((project / "data/spark").iterdir())
