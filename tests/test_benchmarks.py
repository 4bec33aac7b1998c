"""The benchmarks run on tiny sizes and say what they must; nothing is said about speed."""

import json

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import (
    full_ranking,
    ingest,
    rank_head,
    recommend,
    scale,
    scale_engines,
    scale_table,
    serve,
    serve_exchange,
    stage1_step,
    stage2_step,
    trie_beams,
)
from benchmarks.synthetic_log import items_of
from benchmarks.timing import interleaved
from benchmarks.untrained import untrained
from ilm.params import FinetuneParams
from tests.tiny import save_language_model, save_text_encoder

SMALL = {"items": 60, "users": 3, "history": 4, "repetitions": 1}
OF_ITS_OWN = {trie_beams: {"search_users": 2}, stage2_step: {"users": 30, "memory_prompts": 0}}
STAGE_1 = {"items": 60, "batch_size": 8, "paired_rows": 4, "pairs": 24}


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    return str(save_language_model(tmp_path_factory.mktemp("benchmarks") / "tiny"))


@pytest.fixture(scope="module")
def text_encoder(tmp_path_factory):
    return str(save_text_encoder(tmp_path_factory.mktemp("benchmarks") / "bert"))


@pytest.mark.parametrize("module", [rank_head, stage2_step, trie_beams])
def test_a_benchmark_reports_its_name_ratio_goal_and_detail(module, llm):
    require_entry(module, module.run(llm=llm, **SMALL | OF_ITS_OWN.get(module, {})))


def test_the_benchmark_of_stage_1_reports_the_same(text_encoder):
    require_entry(stage1_step, stage1_step.run(text_encoder, **STAGE_1, repetitions=1))


def test_the_benchmark_of_the_ranking_protocol_reports_the_same():
    require_entry(full_ranking, full_ranking.run(**SMALL))


@pytest.mark.parametrize(("form", "event_ids"), [("parquet", False), ("csv.gz", True)])
def test_the_benchmark_of_ingest_reports_the_same(form, event_ids):
    result = ingest.run(rows=300, forms=(form,), event_ids=event_ids)
    require_entry(ingest, result)
    assert result["detail"][form]["peak_mb"] > 0


def test_the_benchmark_of_recommendations_for_all_reports_the_same(llm):
    result = recommend.run(llm=llm, items=60, users=70, history=6, k=3, repetitions=1)
    require_entry(recommend, result)
    assert result["detail"]["tokens"] < result["detail"]["tokens_unsorted"]


def test_the_benchmark_of_the_server_reports_the_same(llm):
    result = serve.run(llm=llm, items=60, users=3, history=4, clients=(1, 2), requests=2)
    require_entry(serve, result)
    assert result["detail"]["clients"].keys() == {"1", "2"}


@pytest.mark.slow
def test_the_benchmark_of_an_exchange_reports_the_same_and_loses_no_request(llm):
    result = serve_exchange.run(llm=llm, items=60, users=3, history=4, clients=2, seconds=0.5)
    require_entry(serve_exchange, result)
    assert result["detail"]["lost"] == 0
    assert result["detail"]["answered"] > 10


def require_entry(module, result):
    assert result["name"] == module.__name__.split(".")[-1]
    assert result["ratio"] > 0
    assert result["goal"]
    assert set(result) == {"name", "ratio", "goal", "detail"}
    json.dumps(result)


def test_plain_steps_of_stage_1_have_the_same_losses(text_encoder):
    ours, plain = stage1_step.stages(text_encoder, **STAGE_1)
    for step in (0, 1):
        losses, expected = ours.losses(step), plain.losses(step)
        assert losses.keys() == expected.keys()
        for name in losses:
            assert losses[name].item() == pytest.approx(expected[name].item(), abs=1e-4), name


def test_the_floor_of_stage_2_gets_the_gradient_that_the_step_sends_to_the_states(llm):
    data = stage2_step.made_up(items=60, users=30, history=4)
    model = untrained(llm, items=60, max_history=4)[0]
    trial = stage2_step.Trial(model, data, FinetuneParams(item_context=False), "sequential")
    with torch.enable_grad():
        states, _ = trial.stage.states(trial.rendered)
    trial.stage.states = lambda rendered: (states, trial.head.ready[1])
    states.retain_grad()
    trial.stage.losses(stage2_step.STEP)["loss"].backward()
    torch.testing.assert_close(trial.head.ready[0].grad, states.grad)


def test_memory_is_measured_of_whole_steps(llm):
    found = stage2_step.memory(llm, items=60, prompts=4, tokens=96, micro_batches=1)
    assert found["peak_mb"] >= found["loaded_mb"] > 0
    assert found["prompts"] > 0


def test_both_searches_find_the_same_names(llm):
    assert trie_beams.run(llm=llm, **SMALL, search_users=2)["detail"]["titles_in_the_prompt"]["same_lists"] == "3 of 3"


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


def test_longer_logs_are_worked_out_along_the_line_through_what_was_measured():
    costs = {rows: {"seconds": 2 * rows, "mb": 500 + 100 * rows} for rows in (1, 3, 5)}
    measured = [{"rows": rows * 1_000_000, "steps": dict.fromkeys(scale.STEPS, cost)} for rows, cost in costs.items()]
    found = {"measured": measured, "slopes": scale.slopes(measured)}

    assert found["slopes"]["cf"] == {"seconds_per_million": 2.0, "gb_per_million": 0.1, "gb_of_none": 0.5}
    assert "| 3 million | 6 s, 0.8 GB |" in scale_table.measured(found)
    assert "| 100 million | 3.3 min, 10 GB |" in scale_table.logs(found)
    assert "| 1 million, measured | " in scale_table.logs(found)
    hours = 5 * 200 / 3600
    assert f"| {hours * (10.5 * 0.005 + 2 * 0.03):.2g} |" in scale_table.logs(found)


def test_a_step_that_was_measured_at_some_lengths_alone_has_a_slope_of_these_and_gaps():
    cost = {"seconds": 1.0, "mb": 500.0}
    measured = [{"rows": rows * 1_000_000, "steps": dict.fromkeys(scale.STEPS, cost)} for rows in (1, 4, 9)]
    for entry, seconds in zip(measured, (10, 40), strict=False):
        entry["steps"] |= {scale.SPARK: {"seconds": seconds, "mb": 500.0}}
    found = {"measured": measured, "slopes": scale.slopes(measured)}
    assert found["slopes"][scale.SPARK]["seconds_per_million"] == 10
    assert scale_table.measured(found).splitlines()[4].endswith("| 1 s, 0.5 GB |  |")


def test_memory_counts_where_the_time_was_not_taken():
    measured = [
        {"rows": 1_000_000, "steps": {step: {"seconds": 2.0, "mb": 510.0} for step in scale.STEPS}},
        {"rows": 3_000_000, "steps": {step: {"seconds": 6.0, "mb": 530.0} for step in scale.STEPS}},
        {"rows": 100_000_000, "steps": {step: {"mb": 510.0} for step in scale.STEPS}},
    ]
    found = {"measured": measured, "slopes": scale.slopes(measured)}
    assert found["slopes"]["cf"]["seconds_per_million"] == 2
    assert abs(found["slopes"]["cf"]["gb_per_million"]) < 1e-3, "10 MB without the last"
    assert scale_table.measured(found).splitlines()[4].startswith("| 100 million | 0.5 GB | 0.5 GB |")
    assert "| 100 million | 3.3 min, " in scale_table.logs(found)


def planes(rows_millions: list[int]) -> list[dict]:
    """As if measured: each step takes 1 GB, 20 MB for a million interactions, 5 MB for a thousand items; 100 s for a
    million interactions, with Spark 200."""
    measured = []
    for rows in (millions * 1_000_000 for millions in rows_millions):
        cost = {"seconds": rows / 1e4, "mb": 1000 + 20 * rows / 1e6 + 5 * items_of(rows) / 1e3}
        steps = dict.fromkeys(scale.STEPS, cost) | {scale.SPARK: cost | {"seconds": rows / 5e3}}
        measured.append({"rows": rows, "steps": steps})
    return measured


def test_what_an_interaction_and_what_an_item_takes_is_told_apart():
    assert scale_engines.plane(planes([1, 5, 25, 100]), "finetune") == pytest.approx((1000, 20, 5), rel=1e-3)
    step, gigabytes, _ = scale_engines.machine(planes([1, 5, 25]), 2e6, 1e6)
    assert step != "cf"
    assert gigabytes == pytest.approx(1 + 0.04 + 5, rel=1e-3)


def test_another_engine_is_named_where_two_cores_are_not_done_in_a_night():
    measured = planes([1, 5, 25])
    assert scale_engines.factorisation(measured, 1e8)[0::2] == ("implicit-cpu", pytest.approx(1e4, rel=1e-3))
    assert scale_engines.factorisation(measured, 1e9) == ("spark", 16, pytest.approx(2e5 / 8, rel=1e-3))
    flops = 8 * (1e6 / 150) * 20 * 1e4 * 6 * 256  # epochs, histories of 20 places, items, three products
    assert scale_engines.item_context(1e6, 1e4) == ("local", 2, pytest.approx(flops / 1e11))
    assert scale_engines.item_context(1e8, 1e6) == ("torchrun", 1, pytest.approx(1e4 * flops / 2e14))
    assert scale_engines.recommendations(1.5e8, 0) == ("local", 2, pytest.approx(1e6 / 56))
    assert scale_engines.recommendations(1.5e9, 0) == ("ray", 16, pytest.approx(1e7 / 56 / 8))


@pytest.mark.parametrize(("items", "size"), [(1e3, 24), (5e6, 64), (1e9, None)])
def test_the_smallest_machine_with_enough_memory_is_named_or_none(items, size):
    assert scale_engines.machine(planes([1, 5, 25]), 1e6, items)[2] == size


def test_what_no_machine_holds_is_not_supported_and_has_no_price(monkeypatch):
    monkeypatch.setattr(scale_engines, "MACHINES", (24,))
    lines = scale_table.engines({"measured": planes([1, 5, 25])}).splitlines()[2:]
    assert len(lines) == 12
    seconds = 100 + 163.84 + 119.4  # cf; 8 x 6,667 x 20 x 10,000 x 1,536 / 1e11; 6,667 / 56, and the products
    assert lines[0].endswith(f"| 1.1 GB (`cf`) | {seconds / 3600 * (24 * 0.005 + 2 * 0.03):.2g} |")
    assert lines[2].endswith("| 501 GB (`pretrain`): not supported |  |")


def test_larger_catalogues_take_what_the_settings_say():
    """64 vectors of 4 bytes; 256 numbers with gradient and two moments; scores of 64 x 20 places, three times."""
    (line,) = (line for line in scale_table.catalogues().splitlines() if line.startswith("| 1 million |"))
    assert line.split(" | ")[1:4] == ["0.26 GB", "4.1 GB", "15 GB / 0.24 GB"]
