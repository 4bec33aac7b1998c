"""The record as it is written, to the byte, for a decision made by hand."""

from pathlib import Path

from ilm.files import read_json
from ilm.gate.decision import Decision, decide
from ilm.gate.record import Circumstances, HoldoutFacts, ModelFacts, document, page, write_record
from ilm.params import Params
from tests.ilm.gate.conftest import gate, of_ranks

ABOUT = Circumstances("c0ffee", Params(gate=gate()), False)
ABOUT.champion = ModelFacts("a" * 64, "2016-01-03T00:00:00+00:00", "0" * 16)
ABOUT.challenger = ModelFacts("b" * 64, "2016-01-10T00:00:00+00:00", "1" * 16)
ABOUT.holdout = HoldoutFacts("2016-01-10T00:00:00+00:00", "2016-01-20T00:00:00+00:00", 50, 80, 7, 60, 3, "c" * 64)
DECISION = decide(of_ranks([1000] * 50), of_ranks([1] * 50), gate())


def test_page_of_a_promotion() -> None:
    text = page(DECISION, ABOUT)
    assert text.startswith("# Gate: promote\n\n- ndcg_at_10: champion 0.0000, challenger 1.0000 on 50 users; ")
    assert "| metric | champion | challenger | difference | 95% interval | p, one-sided |\n| --- |" in text
    assert "| **ndcg_at_10** | 0.0000 | 1.0000 | +1.0000 | +1.0000 to +1.0000 | 0.0004995 |" in text
    assert (
        "| champion | `" + "a" * 64 + "`, fitted until 2016-01-03T00:00:00+00:00, CF space `0000000000000000` |" in text
    )
    assert "| users | 50 of 60, 7 of them newcomers; 3 left out; 80 targets |" in text


def test_page_of_an_error_is_as_far_as_it_came() -> None:
    text = page(Decision("error", ("a | b\nbroke",)), Circumstances("c0ffee", Params(), True))
    assert text.startswith("# Gate: error\n\n- a | b broke\n\n## What was compared")
    assert "| champion | none |" in text and "| bootstrap | yes |" in text


def test_every_number_of_the_decision_is_in_the_document(tmp_path: Path) -> None:
    write_record(tmp_path, DECISION, ABOUT)
    said = read_json(tmp_path / "decision.json")
    assert said == document(DECISION, ABOUT) | {"reasons": list(DECISION.reasons)}
    assert said["test"]["p_value"] == DECISION.test.p_value and len(said["metrics"]) == 5  # type: ignore[union-attr]
    assert {"outcome", "guardrails", "holdout", "champion", "challenger", "code", "settings"} <= said.keys()


def test_equal_decisions_are_written_with_equal_bytes(tmp_path: Path) -> None:
    again = decide(of_ranks([1000] * 50), of_ranks([1] * 50), gate())
    for folder, decision in (("one", DECISION), ("two", again)):
        write_record(tmp_path / folder, decision, ABOUT)
    for name in ("decision.json", "decision.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
