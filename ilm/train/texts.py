"""Texts of the whole catalogue as tokens, in little memory: 4 bytes a token, where Python's lists take 40."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ilm.model.pretraining import TextBatch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

AT_ONCE = 4096


def tokenised(tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str], max_tokens: int) -> TextBatch:
    """Right-padded token ids, int32 [m, t], and their mask; longer texts are cut at `max_tokens`."""
    rows: list[np.ndarray] = []
    for start in range(0, len(texts), AT_ONCE):
        some = tokenizer(list(texts[start : start + AT_ONCE]), truncation=True, max_length=max_tokens)["input_ids"]
        rows += [np.array(row, dtype=np.int32) for row in some]
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    token_ids = np.full(mask.shape, tokenizer.pad_token_id, dtype=np.int32)
    token_ids[mask] = np.concatenate(rows)
    return TextBatch(torch.from_numpy(token_ids), torch.from_numpy(mask))
