import pytest
import torch

from ilm.elm.features import ElmFeatures
from ilm.elm.plan import plan
from ilm.elm.references import References
from ilm.elm.speaker import Speaker
from ilm.elm.training import AnswerSteps, learn_answers
from ilm.errors import DataError
from ilm.model.shards import WHOLE, Shard
from ilm.params import ElmParams
from ilm.train.distributed import ONE_CPU


@pytest.fixture
def lessons(read: ElmFeatures) -> References:
    requests = [request for request in plan(read.training, read.held_out, 3, 1, 0) if not request.held_out]
    titles = read.training.attributes.titles
    return References(requests, [titles[request.item] for request in requests], {})


def total_nats(speaker: Speaker, lessons: References, blind: bool = False) -> float:
    with torch.no_grad():
        return float(speaker.nats(speaker.read(lessons.requests, lessons.texts), blind)[0].sum())


def test_training_makes_the_texts_likelier_and_leaves_the_language_model(
    speaker: Speaker, lessons: References, elm_params: ElmParams
) -> None:
    frozen, before = speaker.model.language_model.weights_digest(), total_nats(speaker, lessons)
    history = learn_answers(speaker, lessons, elm_params.model_copy(update={"steps": 40}))
    after = total_nats(speaker, lessons)
    assert after < 0.98 * before  # a random language model says all bytes about alike, whatever it is shown
    assert after < total_nats(speaker, lessons, blind=True)
    assert [record["step"] for record in history] == list(range(40))
    assert speaker.model.language_model.weights_digest() == frozen


def test_loss_is_the_mean_over_the_tokens_of_the_batch_however_it_is_cut(
    speaker: Speaker, lessons: References, elm_params: ElmParams
) -> None:
    stage = AnswerSteps(speaker, lessons, elm_params, ONE_CPU)
    whole = stage.losses(0, WHOLE)["loss"].item()
    parts = [stage.losses(0, Shard(index, 2))["loss"].item() for index in range(2)]
    assert sum(parts) == pytest.approx(whole, rel=1e-5)
    assert parts[0] != pytest.approx(whole / 2, rel=1e-3)


def test_encoder_without_a_learning_rate_stays_and_the_adapter_learns(
    speaker: Speaker, lessons: References, elm_params: ElmParams
) -> None:
    before = {name: tensor.clone() for name, tensor in speaker.model.state_dict().items()}
    learn_answers(speaker, lessons, elm_params.model_copy(update={"encoder_learning_rate": 0.0}))
    changed = {name.split(".")[0] for name, was in before.items() if not speaker.model.state_dict()[name].equal(was)}
    assert changed == {"adapter"}


def test_held_out_texts_are_not_learned_from(speaker: Speaker, read: ElmFeatures, elm_params: ElmParams) -> None:
    requests = plan(read.training, read.held_out, 1, 1, 0)
    with pytest.raises(DataError, match="held-out texts"):
        learn_answers(speaker, References(requests, ["text"] * len(requests), {}), elm_params)
