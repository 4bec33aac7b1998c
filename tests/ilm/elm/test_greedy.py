import pytest
import torch
from transformers import GenerationConfig

from ilm.elm.greedy import answer_greedily, continue_greedily, end_tokens, worded
from ilm.model.language_model import LanguageModel

QUESTIONS = ["Why?", "What is the answer to all of this?", "Heat (1995)"]


def generated(language_model: LanguageModel, question: str, tokens: int) -> str:
    """One question by transformers' own greedy decoding."""
    ids = worded(language_model, [question]).token_ids
    config = GenerationConfig(
        do_sample=False, num_beams=1, max_new_tokens=tokens, eos_token_id=sorted(end_tokens(language_model)),
        pad_token_id=language_model.tokenizer.pad_token_id,
    )  # fmt: skip
    said = language_model.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
    return str(language_model.tokenizer.decode(said[0, ids.shape[1] :], skip_special_tokens=True)).strip()


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_answers_equal_those_of_transformers_however_prompts_share_a_batch(
    architecture: str, request: pytest.FixtureRequest
) -> None:
    language_model = request.getfixturevalue(architecture)
    found = [text for text, _ in answer_greedily(language_model, QUESTIONS, 20)]
    assert found == [generated(language_model, question, 20) for question in QUESTIONS]
    assert len(set(found)) > 1


class Scripted:
    """A language model that says given tokens, one row each, whatever it has read."""

    def __init__(self, language_model: LanguageModel, script: list[list[int]]) -> None:
        self.tokenizer, self.model = language_model.tokenizer, language_model.model
        self._script, self._step = torch.tensor(script), -1

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        self._step += 1
        return torch.nn.functional.one_hot(self._script[:, self._step], 300).float()


def test_answer_ends_at_its_end_token_and_says_whether_it_came_to_one(llama: LanguageModel) -> None:
    end = int(llama.tokenizer.eos_token_id)
    a, b = llama.tokenizer("ab")["input_ids"]
    prompts = worded(llama, ["x", "y", "z"])
    embeddings = llama.model.get_input_embeddings()(prompts.token_ids)
    scripted = Scripted(llama, [[a, end, b, b], [a, b, a, end], [b, b, b, b]])
    found = continue_greedily(scripted, embeddings, prompts.mask, max_tokens=3)  # type: ignore[arg-type]
    assert found == [("a", True), ("aba", True), ("bbb", False)]


def test_answer_that_ends_at_once_is_empty(llama: LanguageModel) -> None:
    prompts = worded(llama, ["x"])
    embeddings = llama.model.get_input_embeddings()(prompts.token_ids)
    scripted = Scripted(llama, [[int(llama.tokenizer.eos_token_id)] * 3])
    assert continue_greedily(scripted, embeddings, prompts.mask, max_tokens=2) == [("", True)]  # type: ignore[arg-type]
