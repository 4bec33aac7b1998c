"""The benchmarks run on tiny sizes and say what they must; nothing is said about speed."""

import json

import pytest

from benchmarks import __main__ as command
from benchmarks import rank_head, trie_beams
from benchmarks.timing import interleaved
from tests.tiny import save_language_model

SMALL = {"items": 60, "users": 3, "history": 4, "repetitions": 1}


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    return str(save_language_model(tmp_path_factory.mktemp("benchmarks") / "tiny"))


@pytest.mark.parametrize("module", [rank_head, trie_beams])
def test_a_benchmark_reports_its_name_ratio_goal_and_detail(module, llm):
    result = module.run(llm=llm, **SMALL | ({"search_users": 2} if module is trie_beams else {}))
    assert result["name"] == module.__name__.split(".")[-1]
    assert result["ratio"] > 0
    assert result["goal"]
    assert set(result) == {"name", "ratio", "goal", "detail"}
    json.dumps(result)


def test_both_searches_find_the_same_names(llm):
    assert trie_beams.run(llm=llm, **SMALL, search_users=2)["detail"]["same_lists"] == "3 of 3"


def test_made_up_titles_are_distinct_and_the_same_every_time():
    titles = trie_beams.made_up_titles(500)
    assert len(set(titles)) == 500
    assert titles == trie_beams.made_up_titles(500)


def test_contestants_take_turns_after_a_warm_up():
    calls = []
    seconds = interleaved({name: lambda name=name: calls.append(name) for name in "ab"}, repetitions=2)
    assert calls == ["a", "b"] * 3
    assert set(seconds) == {"a", "b"}


def test_the_report_has_one_entry_per_benchmark(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rank_head, "run", lambda: {"name": "rank_head", "ratio": 1.0, "goal": "<= 1.05", "detail": {}})
    command.main(["rank_head"])
    entries = json.loads((tmp_path / "reports/bench.json").read_text())
    assert [entry["name"] for entry in entries] == ["rank_head"]
