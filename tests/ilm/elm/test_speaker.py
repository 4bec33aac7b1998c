import torch
from transformers import GenerationConfig

from ilm.elm.features import ElmFeatures
from ilm.elm.plan import plan
from ilm.elm.speaker import Speaker
from ilm.elm.tasks import Request
from ilm.prompts.example import Example, Turn

TEXTS = ["A", "A longer answer that is cut somewhere", "Short one"]


def requests(read: ElmFeatures) -> list[Request]:
    found = plan(read.training, read.held_out, 1, 1, 0)
    return [request for request in found if request.task in ("summary", "similarities", "pitch")][:3]


def test_nats_of_an_answer_are_the_loss_of_transformers_with_all_else_masked(
    speaker: Speaker, read: ElmFeatures
) -> None:
    nats, tokens = speaker.nats(speaker.read(requests(read), TEXTS))
    for row, (request, text) in enumerate(zip(requests(read), TEXTS, strict=True)):
        rendered = speaker.read([request], [text])
        ids = rendered.prompts.token_ids
        answer = torch.zeros_like(ids, dtype=torch.bool)
        answer[0, rendered.spoken.nonzero()[:, 1] + 1] = True
        embeddings = speaker._embeddings(rendered, blind=False)
        loss = speaker.model.language_model.model(inputs_embeds=embeddings, labels=ids.masked_fill(~answer, -100)).loss
        torch.testing.assert_close(nats[row] / tokens[row], loss, rtol=1e-5, atol=1e-6)


def test_only_the_answer_and_its_end_are_counted_and_a_cut_answer_has_no_end(
    speaker: Speaker, read: ElmFeatures
) -> None:
    _, tokens = speaker.nats(speaker.read(requests(read), TEXTS))
    assert tokens.tolist() == [len("A") + 1, 12, len("Short one") + 1]  # a byte is a token


def test_items_change_nats_and_answers_unless_blind(speaker: Speaker) -> None:
    pair = [Request(True, "summary", 0), Request(True, "summary", 1)]
    seen, _ = speaker.nats(speaker.read(pair, ["text", "text"]))
    blind, _ = speaker.nats(speaker.read(pair, ["text", "text"]), blind=True)
    assert abs((seen[0] - seen[1]).item()) > 1e-4
    assert (blind[0] - blind[1]).item() == 0.0
    assert len(set(speaker.say(pair, blind=True))) == 1


def test_answers_are_those_of_transformers_with_soft_tokens_among_the_words(speaker: Speaker) -> None:
    request, language_model = Request(True, "similarities", 0, 5), speaker.model.language_model
    question = speaker._rendered([Example((Turn(request.question()),))])
    embeddings = speaker._embeddings(question, blind=False)
    config = GenerationConfig(do_sample=False, max_new_tokens=12, eos_token_id=0, pad_token_id=0)
    said = language_model.model.generate(
        inputs_embeds=embeddings, attention_mask=question.prompts.mask, generation_config=config
    )
    expected = language_model.tokenizer.decode(said[0], skip_special_tokens=True).strip()
    assert speaker.say([request]) == [expected]
    assert speaker.say([request], blind=True) != [expected]


def test_batch_and_padding_change_nothing(speaker: Speaker, read: ElmFeatures) -> None:
    together = speaker.say(requests(read))
    assert together == [speaker.say([request])[0] for request in requests(read)]
