from collections.abc import Sequence

import numpy as np
import pytest

from ilm.elm.comparison import comparison, per_token
from ilm.elm.features import ElmFeatures
from ilm.elm.plan import plan
from ilm.elm.references import References
from ilm.elm.scores import Scores, judge, others_texts
from ilm.elm.speaker import Speaker
from ilm.elm.tasks import Request
from ilm.errors import DataError


class SameText:
    """In place of a sentence encoder: 1 for equal texts, else 0."""

    def consistency(
        self, texts: Sequence[str], references: Sequence[str]
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([float(text == reference) for text, reference in zip(texts, references, strict=True)])


@pytest.fixture
def judged(read: ElmFeatures) -> References:
    requests = [request for request in plan(read.training, read.held_out, 1, 3, 0) if request.held_out]
    return References(requests, [f"{request.task} {request.item}" for request in requests], {})


def test_system_is_judged_by_what_it_says_and_reads_row_by_row(speaker: Speaker, judged: References) -> None:
    found = judge(speaker, judged, SameText(), "ilm")  # type: ignore[arg-type]
    for row in (0, 10, len(judged.texts) - 1):
        request, text = judged.requests[row], judged.texts[row]
        nats, tokens = speaker.nats(speaker.read([request], [text]))
        assert found.said[row] == speaker.say([request])[0]
        assert found.nats is not None
        assert found.tokens is not None
        assert found.nats[row] == pytest.approx(nats[0].item(), rel=1e-5)
        assert found.tokens[row] == int(tokens[0])


def test_blind_system_says_the_same_of_all_items_of_a_task(speaker: Speaker, judged: References) -> None:
    found = judge(speaker, judged, SameText(), "blind", blind=True)  # type: ignore[arg-type]
    by_task: dict[str, set[str]] = {}
    for request, said in zip(judged.requests, found.said, strict=True):
        by_task.setdefault(request.task, set()).add(said)
    assert all(len(said) == 1 for said in by_task.values())
    request = judged.requests[7]
    assert found.said[7] == speaker.say([request], blind=True)[0]


def test_floor_gives_each_item_the_text_of_another_one_in_the_same_task(judged: References) -> None:
    floor = others_texts(judged, SameText(), seed=0)  # type: ignore[arg-type]
    assert not floor.consistency.any()
    for task in {request.task for request in judged.requests}:
        rows = [row for row, request in enumerate(judged.requests) if request.task == task]
        assert sorted(floor.said[row] for row in rows) == sorted(judged.texts[row] for row in rows)


REQUESTS = sorted(Request(True, task, item) for task in ("summary", "pitch") for item in (4, 7, 9))


def scores(consistency: Sequence[float], nats: Sequence[float], tokens: Sequence[int]) -> Scores:
    return Scores([""] * 6, np.array(consistency), np.array(nats, np.float64), np.array(tokens))


def test_means_per_task_and_over_tasks_are_those_by_hand() -> None:
    pitch_then_summary = scores([0.1, 0.2, 0.3, 0.4, 0.5, 0.9], [2, 4, 6, 9, 9, 9], [1, 2, 3, 3, 3, 3])
    found = comparison(REQUESTS, {"ilm": [pitch_then_summary]}, "ilm", samples=100, seed=0)
    closeness = found["semantic_consistency"]["intervals"]["ilm"]
    perplexity = found["log_perplexity"]["intervals"]["ilm"]
    assert {task: cell["mean"] for task, cell in closeness.items()} == pytest.approx(
        {"average": 0.4, "summary": 0.6, "pitch": 0.2}
    )
    assert {task: cell["mean"] for task, cell in perplexity.items()} == pytest.approx(
        {"average": 2.5, "summary": 27 / 9, "pitch": 12 / 6}
    )


def test_log_perplexity_of_a_task_counts_all_its_tokens_alike() -> None:
    one = scores([0] * 6, [1, 100, 3, 4, 5, 6], [1, 50, 2, 7, 8, 9])
    values = per_token(one, np.array([[3, 0], [4, 1], [5, 2]]))
    assert values[:3].mean() == pytest.approx(104 / 53)
    assert values[3:].mean() == pytest.approx(15 / 24)


def test_systems_are_paired_by_item_and_a_floor_has_no_perplexity() -> None:
    good = scores([0.5, 0.6, 0.7, 0.5, 0.6, 0.7], [1] * 6, [2] * 6)
    worse = scores([0.4, 0.5, 0.6, 0.4, 0.5, 0.6], [2] * 6, [2] * 6)
    floor = Scores([""] * 6, np.zeros(6), None, None)
    runs = {"ilm": [good], "mlp": [worse], "floor": [floor]}
    found = comparison(REQUESTS, runs, "ilm", samples=200, seed=0)
    paired = found["semantic_consistency"]["paired"]
    assert paired.keys() == {"ilm_minus_mlp", "ilm_minus_floor"}
    cell = paired["ilm_minus_mlp"]["average"]
    assert (cell["difference"], cell["low"], cell["high"]) == pytest.approx((0.1, 0.1, 0.1))
    assert found["log_perplexity"]["paired"].keys() == {"ilm_minus_mlp"}
    assert found["log_perplexity"]["paired"]["ilm_minus_mlp"]["pitch"]["difference"] == pytest.approx(-0.5)


def test_different_language_models_are_not_compared() -> None:
    runs = {"ilm": [scores([0] * 6, [1] * 6, [2] * 6)], "other": [scores([0] * 6, [1] * 6, [3] * 6)]}
    with pytest.raises(DataError, match="same language model"):
        comparison(REQUESTS, runs, "ilm", samples=100, seed=0)


def test_tasks_with_different_items_are_refused() -> None:
    one = scores([0] * 6, [1] * 6, [2] * 6)
    cut = Scores(
        one.said[:5], *(values[:5] for values in (one.consistency, one.nats, one.tokens) if values is not None)
    )
    with pytest.raises(DataError, match="different items"):
        comparison(REQUESTS[:5], {"ilm": [cut]}, "ilm", samples=100, seed=0)
