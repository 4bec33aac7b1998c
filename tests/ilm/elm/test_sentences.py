from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from ilm.elm.sentences import SentenceEncoder
from ilm.errors import ArtifactError
from ilm.files import write_json
from tests.tiny import save_text_encoder

TEXTS = ["heat 1995", "a long text about a thief and a detective", "z"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_text_encoder(tmp_path / "bert")


def plain_mean(folder: Path, text: str, longest: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """One text at a time, no padding: the mean of its tokens' states, at unit length."""
    ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")["input_ids"][:, :longest]
    with torch.no_grad():
        mean = AutoModel.from_pretrained(folder)(ids).last_hidden_state[0].mean(dim=0).numpy()
    return mean / np.linalg.norm(mean)


def test_embedding_is_the_mean_over_the_text_alone_in_any_batch(folder: Path) -> None:
    found = SentenceEncoder(str(folder)).embed(TEXTS)
    np.testing.assert_allclose(found, [plain_mean(folder, text, 64) for text in TEXTS], atol=2e-6)


def test_longer_texts_are_cut_where_the_encoder_says(folder: Path) -> None:
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 6})
    encoder = SentenceEncoder(str(folder))
    same = encoder.embed(["abcd", "abcdefghij"])
    np.testing.assert_array_equal(same[0], same[1])


def test_consistency_is_1_for_equal_texts_and_the_cosine_for_others(folder: Path) -> None:
    encoder = SentenceEncoder(str(folder))
    found = encoder.consistency(["heat", "heat"], ["heat", "z z z"])
    one, other = (plain_mean(folder, text, 64) for text in ("heat", "z z z"))
    np.testing.assert_allclose(found, [1.0, one @ other], atol=1e-5)


def test_encoder_that_pools_in_another_way_is_refused(folder: Path) -> None:
    modes = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "word_embedding_dimension": 16}
    write_json(folder / "1_Pooling" / "config.json", modes)
    with pytest.raises(ArtifactError, match="pooling_mode_cls_token"):
        SentenceEncoder(str(folder))
