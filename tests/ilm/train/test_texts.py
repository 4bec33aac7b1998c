"""Texts as tokens, against what transformers makes of them in one call."""

import pytest
import torch

from ilm.model.text_encoder import load_tokenizer
from ilm.train import texts
from ilm.train.texts import tokenised


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_tokens_are_those_of_one_call_of_transformers(at_once, text_encoder_folder, monkeypatch):
    monkeypatch.setattr(texts, "AT_ONCE", at_once)
    tokenizer = load_tokenizer(text_encoder_folder)
    said = ["comedy 1", "horror", "a comedy and a horror and a comedy and more of it", "", "horror 7"]

    found = tokenised(tokenizer, said, max_tokens=6)

    expected = tokenizer(said, padding=True, truncation=True, max_length=6, return_tensors="pt")
    assert torch.equal(found.token_ids.long(), expected["input_ids"])
    assert torch.equal(found.mask, expected["attention_mask"].bool())
