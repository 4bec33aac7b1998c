"""`ilm report`: the run's page together with all benchmarks, ablations and ELM-24, in one file."""

from pathlib import Path

from ilm.files import read_json, write_text
from tasks import paths

PAGE = Path("reports/index.html")
"""Beside the pages that it links to."""


def write_page(project: Path) -> tuple[Path, list[str]]:
    """Write the page from what the pipeline, `ilm bench` and `ilm elm` left behind; gives its path, and what is on it.

    Raises:
        ArtifactError: the pipeline has not run, or one of the files is damaged.
    """
    from flows.bench_record import RESULTS
    from flows.elm import RESULTS as ELM
    from ilm.report.report import render

    metrics, showcase = (read_json(project / path) for path in (paths.METRICS, paths.SHOWCASE))
    found = sorted((project / RESULTS).glob("*/metrics.json"))
    benchmarks = {path.parent.name: read_json(path) for path in found}
    elm = read_json(project / ELM / "metrics.json") if (project / ELM).exists() else None
    write_text(project / PAGE, render(metrics, showcase, benchmarks, elm))
    return project / PAGE, [*benchmarks, *(["ELM-24"] if elm else [])]
