from ilm.elm.features import ElmFeatures
from ilm.elm.plan import plan
from ilm.elm.references import References
from ilm.elm.speaker import Speaker
from ilm.elm.training import learn_answers
from ilm.eval.plain_text import TEXTS, bridge_log_perplexity
from ilm.params import ElmParams


def test_plain_text_is_as_likely_after_training_as_before_to_the_bit(
    speaker: Speaker, read: ElmFeatures, elm_params: ElmParams
) -> None:
    before = bridge_log_perplexity(speaker.model, TEXTS)
    requests = [request for request in plan(read.training, read.held_out, 2, 1, 0) if not request.held_out]
    learn_answers(speaker, References(requests, ["text"] * len(requests), {}), elm_params)
    assert bridge_log_perplexity(speaker.model, TEXTS) == before
