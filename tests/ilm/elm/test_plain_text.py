import pytest

from ilm.elm.features import ElmFeatures
from ilm.elm.plain_text import bridge_log_perplexity, language_model_log_perplexity
from ilm.elm.plan import plan
from ilm.elm.references import References
from ilm.elm.speaker import Speaker
from ilm.elm.training import learn_answers
from ilm.params import ElmParams

TEXTS = ["The quick brown fox jumps over the lazy dog.", "Plain words.", "A" * 100]


def test_plain_text_is_as_likely_after_training_as_before_to_the_bit(
    speaker: Speaker, read: ElmFeatures, elm_params: ElmParams
) -> None:
    before = bridge_log_perplexity(speaker.model, TEXTS)
    requests = [request for request in plan(read.training, read.held_out, 2, 1, 0) if not request.held_out]
    learn_answers(speaker, References(requests, ["text"] * len(requests), {}), elm_params)
    assert bridge_log_perplexity(speaker.model, TEXTS) == before


def test_the_way_of_prompts_with_items_gives_what_transformers_gives(speaker: Speaker) -> None:
    alone = language_model_log_perplexity(speaker.model.language_model, TEXTS)
    assert bridge_log_perplexity(speaker.model, TEXTS) == pytest.approx(alone, rel=1e-5)


def test_all_tokens_count_alike(speaker: Speaker) -> None:
    model = speaker.model
    one, two = (bridge_log_perplexity(model, [text]) for text in TEXTS[:2])
    lengths = [len(text) - 1 for text in TEXTS[:2]]
    expected = (one * lengths[0] + two * lengths[1]) / sum(lengths)
    assert bridge_log_perplexity(model, TEXTS[:2]) == pytest.approx(expected)
