"""Sentence embeddings by mean pooling: what sentence-transformers computes for all-MiniLM-L6-v2 and encoders like it,
without that package (docs/decisions/elm-24.md)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ilm.errors import ArtifactError
from ilm.files import digest, read_json
from ilm.model.builtin import load_quietly, resolve

BATCH = 32


class SentenceEncoder:
    """A BERT-like encoder; a text's embedding is the mean of its tokens' last states, at unit length.

    Args:
        name: built-in name, or a folder as sentence-transformers keeps it (safetensors).

    Raises:
        ArtifactError: not found, or an encoder that pools in another way.
    """

    def __init__(self, name: str, device: torch.device | None = None) -> None:
        from transformers import AutoModel, AutoTokenizer

        load_quietly()
        folder = resolve(name)
        pooling = folder / "1_Pooling" / "config.json"
        modes = read_json(pooling) if pooling.exists() else {}
        others = [mode for mode, used in modes.items() if mode.startswith("pooling_mode") and used is True]
        if modes and others != ["pooling_mode_mean_tokens"]:
            raise ArtifactError(f"{pooling}: pools by {others}; only the mean is known here. Take another encoder.")
        limits = folder / "sentence_bert_config.json"
        self._device = device or torch.device("cpu")
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, attn_implementation="eager"
        )
        self._model = model.eval().to(self._device)
        longest = read_json(limits).get("max_seq_length") if limits.exists() else None
        self._longest = longest or min(self._tokenizer.model_max_length, model.config.max_position_embeddings)
        self.identity = {"name": name, "sha256": digest(folder / "model.safetensors")}
        """Name, and hash of the weights."""

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings [n, d] of unit length. Texts of like length share a batch."""
        order = sorted(range(len(texts)), key=lambda row: (len(texts[row]), row))
        embeddings = np.empty((len(texts), self._model.config.hidden_size), np.float32)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            tokens = self._tokenizer(
                [texts[row] for row in rows], padding=True, truncation=True, max_length=self._longest,
                return_tensors="pt",
            ).to(self._device)  # fmt: skip
            states = self._model(**tokens).last_hidden_state  # [b, l, d]
            mask = tokens["attention_mask"][..., None].to(states.dtype)
            mean = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1e-9)
            embeddings[rows] = torch.nn.functional.normalize(mean, dim=1).cpu().numpy()
        return embeddings

    def consistency(self, texts: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
        """Semantic consistency [n]: the cosine of each text and its reference."""
        both = (self.embed(side).astype(np.float64) for side in (texts, references))
        cosines: NDArray[np.float64] = np.multiply(*both).sum(axis=1)
        return cosines
