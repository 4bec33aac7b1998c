"""`ilm report`: one page of what the pipeline, the benchmarks and ELM-24 left behind."""

import sys
from pathlib import Path

import pytest

from flows import cli
from flows.report import PAGE, write_page
from ilm.errors import ArtifactError
from ilm.files import write_json
from tasks import paths
from tests.tiny_report import make_benchmark, make_metrics, make_showcase


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_json(tmp_path / paths.METRICS, make_metrics())
    write_json(tmp_path / paths.SHOWCASE, make_showcase())
    return tmp_path


def page(project: Path) -> str:
    return (project / PAGE).read_text(encoding="utf-8")


def test_page_has_the_run_and_every_benchmark_by_name(project: Path) -> None:
    for name in ("stage1-tiny", "ml-1m"):
        write_json(project / "reports/bench" / name / "metrics.json", make_benchmark())
    assert write_page(project) == (project / PAGE, ["ml-1m", "stage1-tiny"])
    assert "User 42" in page(project)
    for name in ("stage1-tiny", "ml-1m"):
        link = f"bench/{name}/report.html"
        assert f'href="{link}"' in page(project)
        assert (project / PAGE).parent / link == project / "reports/bench" / name / "report.html"


def test_results_of_elm_24_are_on_it_where_there_are_some(project: Path) -> None:
    write_page(project)
    assert 'id="elm"' not in page(project)
    cell = {"average": {"mean": 0.5, "low": 0.4, "high": 0.6, "seed_deviation": None}}
    found = {"semantic_consistency": {"intervals": {"ilm": cell}, "paired": {}}}
    write_json(project / "reports/elm/metrics.json", found)
    assert write_page(project)[1] == ["ELM-24"]
    assert 'id="elm"' in page(project)


def test_command_says_where_the_page_is(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "argv", ["ilm", "report"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "no benchmarks yet" in printed
    assert f"report  {project / PAGE}\n" in printed


def test_without_a_run_it_says_which_command_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"metrics\.json: not found\. Run .*`ilm train`"):
        write_page(tmp_path)
    assert not (tmp_path / PAGE).exists()


def test_damaged_benchmark_is_named(project: Path) -> None:
    folder = project / "reports/bench/broken"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"broken/metrics\.json: damaged"):
        write_page(project)
