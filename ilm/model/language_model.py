"""The frozen language model: any causal LM that `transformers` loads from a folder, never trained, never saved."""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ilm.errors import ArtifactError
from ilm.files import digest
from ilm.model.builtin import load_quietly, resolve

ITEM_TOKEN = "<|item|>"
USER_TOKEN = "<|user|>"


@dataclass(frozen=True)
class LanguageModel:
    """A frozen causal LM, its tokenizer with the two placeholder tokens, and the hash of its weight files.

    The placeholders' ids lie behind the tokenizer's own: no word vector is looked up, changed or added for them.
    """

    name: str
    sha256: str
    model: Any  # transformers.PreTrainedModel
    tokenizer: Any  # transformers.PreTrainedTokenizerFast
    item_id: int
    user_id: int

    @property
    def width(self) -> int:
        """Width of the word embeddings."""
        return int(self.model.get_input_embeddings().embedding_dim)

    @property
    def embedding_scale(self) -> float:
        """Standard deviation of the word embeddings."""
        return float(self.model.get_input_embeddings().weight.float().std())

    def hidden_states(self, embeddings: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Last hidden states [b, l, w] of right-padded input embeddings [b, l, w], without the vocabulary head."""
        states: Tensor = self.model.base_model(
            inputs_embeds=embeddings, attention_mask=attention_mask, use_cache=False
        ).last_hidden_state
        return states

    def logits(self, states: Tensor) -> Tensor:
        """Vocabulary logits [n, vocabulary] of hidden states [n, w]; hand over only the positions that are needed."""
        out: Tensor = self.model.get_output_embeddings()(states)
        return out

    def weights_digest(self) -> str:
        """SHA-256 of all parameters and buffers in memory: equal before and after training, or something is wrong."""
        whole = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            whole.update(name.encode())
            whole.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return whole.hexdigest()


def load_language_model(name: str, sha256: str | None = None) -> LanguageModel:
    """Load and freeze a language model by built-in name or folder, float32, evaluation mode.

    Args:
        name: what params.yaml calls `model.llm`.
        sha256: the hash that a trained Item-Language Model recorded; None accepts any.

    Raises:
        ArtifactError: not found, or other weights than recorded.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    load_quietly()
    folder = resolve(name)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ArtifactError(
            f"{folder}: no *.safetensors weights. Save the model with safetensors; pickles are not read."
        )
    found = (
        digest(weights[0]) if len(weights) == 1 else hashlib.sha256("".join(map(digest, weights)).encode()).hexdigest()
    )
    if sha256 is not None and found != sha256:
        raise ArtifactError(
            f"language model '{name}': its weights' SHA-256 is {found}, but this Item-Language Model was trained with "
            f"{sha256}. Install the same model, or train again."
        )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
    )
    model.eval().requires_grad_(False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    vocabulary = int(model.config.vocab_size)
    if len(tokenizer) > vocabulary:
        raise ArtifactError(f"{folder}: the tokenizer knows {len(tokenizer)} tokens, the model only {vocabulary}.")
    tokenizer.add_tokens([ITEM_TOKEN, USER_TOKEN], special_tokens=True)
    item_id, user_id = (tokenizer.get_vocab()[token] for token in (ITEM_TOKEN, USER_TOKEN))
    return LanguageModel(name, found, model, tokenizer, item_id, user_id)
