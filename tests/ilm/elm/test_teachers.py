import pytest
from transformers import GenerationConfig

from ilm.elm.teachers import BATCH, LocalTeacher
from ilm.model.language_model import LanguageModel


def test_local_teacher_answers_as_transformers_would_in_the_chat_template(llama: LanguageModel) -> None:
    question = "Why is the sky blue?"
    (found,) = LocalTeacher(llama, 15).answer([question])
    ids = llama.tokenizer(f"User:\n{question}\nAssistant:\n", return_tensors="pt")["input_ids"]
    config = GenerationConfig(do_sample=False, max_new_tokens=15, eos_token_id=0, pad_token_id=0)
    said = llama.model.generate(ids, generation_config=config)[0, ids.shape[1] :]
    assert found == llama.tokenizer.decode(said, skip_special_tokens=True).strip()


def test_answers_do_not_depend_on_which_questions_come_along(llama: LanguageModel) -> None:
    questions = [f"Question {'very ' * number}hard?" for number in range(BATCH + 3)]
    teacher = LocalTeacher(llama, 10)
    assert teacher.answer(questions) == [teacher.answer([question])[0] for question in questions]


@pytest.mark.parametrize("text", ["<end>", "<|item|>"])
def test_question_that_spells_a_special_token_is_plain_text(text: str, llama: LanguageModel) -> None:
    assert LocalTeacher(llama, 5).answer([text])


def test_identity_has_the_hash_of_the_weights(llama: LanguageModel) -> None:
    assert LocalTeacher(llama, 5).identity == {
        "teacher": "local", "model": llama.name, "sha256": llama.sha256, "max_tokens": 5,
    }  # fmt: skip
