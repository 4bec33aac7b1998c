"""The frozen language model: any causal LM that `transformers` loads from a folder, never trained, never saved."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from ilm.errors import ArtifactError
from ilm.files import digest
from ilm.model.builtin import load_quietly, resolve
from ilm.model.quantisation import NONE, keep_form, loading_options
from ilm.model.spread import is_spread, own_part, spread_layers

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
    quantisation: str = NONE

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

    def move(self, device: torch.device, dtype: torch.dtype, processes: int = 1) -> None:
        """Bring it to a device; and to a precision, unless it is quantised, which keeps that of its loading. With more
        `processes` than one, its layers are spread over them (not if it is quantised)."""
        if self.quantisation == NONE:
            self.model.to(dtype)
            if processes > 1:
                spread_layers(self.model, device, processes)
        self.model.to(device)

    @property
    def is_spread(self) -> bool:
        """Whether its layers are spread over processes, so that all must use it equally often."""
        return is_spread(self.model)

    def weights_digest(self) -> str:
        """SHA-256 of all parameters and buffers in this process's memory: equal before and after training, or something
        is wrong."""
        whole = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            whole.update(name.encode())
            whole.update(own_part(tensor.detach()).cpu().flatten().view(torch.uint8).numpy().tobytes())
        return whole.hexdigest()


def load_language_model(
    name: str, sha256: str | None = None, dtype: torch.dtype = torch.float32, quantisation: str = NONE
) -> LanguageModel:
    """Load and freeze a language model, evaluation mode, on the CPU. Nothing is downloaded, and no code of a model's
    folder is run.

    Args:
        name: what params.yaml calls `model.llm`: built-in name, folder, or hub id that is in the local cache.
        sha256: the hash that a trained Item-Language Model recorded; None accepts any.
        dtype: of the weights in memory.
        quantisation: `model.quantisation`.

    Raises:
        ArtifactError: not found, no causal language model that can be used, or other weights than recorded.
        ConfigError: the quantisation is not at hand.
    """
    folder = resolve(name)
    found = weights_hash(folder)
    if sha256 is not None and found != sha256:
        raise ArtifactError(
            f"language model '{name}': its weights' SHA-256 is {found}, but this Item-Language Model was trained with "
            f"{sha256}. Install the same model, or train again."
        )
    options = loading_options(quantisation, dtype)
    model, tokenizer = _read(folder, dtype, options)
    model.eval().requires_grad_(False)
    keep_form(model)
    _require_usable(folder, model, tokenizer)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    tokenizer.add_tokens([ITEM_TOKEN, USER_TOKEN], special_tokens=True)
    item_id, user_id = (tokenizer.get_vocab()[token] for token in (ITEM_TOKEN, USER_TOKEN))
    return LanguageModel(name, found, model, tokenizer, item_id, user_id, quantisation)


def weights_hash(folder: Path) -> str:
    """SHA-256 of a folder's weight files.

    Raises:
        ArtifactError: there are none in safetensors form.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ArtifactError(
            f"{folder}: no *.safetensors weights. Save the model with safetensors; pickles are not read."
        )
    digests = [digest(file) for file in weights]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _read(folder: Path, dtype: torch.dtype, options: dict[str, Any]) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    load_quietly()
    automatic: Any = AutoModelForCausalLM  # its types do not know output_loading_info
    own: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(folder, **own)
        if config.is_encoder_decoder:
            raise ArtifactError(
                f"{folder}: {config.model_type} has an encoder and a decoder; soft tokens go into the prompt of a "
                "decoder alone. Name a causal language model (Llama, Qwen, SmolLM, …) in model.llm."
            )
        tokenizer = AutoTokenizer.from_pretrained(folder, **own)
        model, info = automatic.from_pretrained(
            folder, use_safetensors=True, dtype=dtype, output_loading_info=True, **own, **options
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ArtifactError(
            f"{folder}: not loadable as a causal language model ({reason}). It needs config.json, a tokenizer, and "
            "whole *.safetensors of an architecture that this version of transformers knows by itself."
        ) from None
    lacking = sorted(info["missing_keys"])
    if lacking:
        raise ArtifactError(
            f"{folder}: not a whole causal language model; its weights lack {', '.join(lacking[:3])}. Name a model "
            "whose files have them, in model.llm."
        )
    return model, tokenizer


def _require_usable(folder: Path, model: Any, tokenizer: Any) -> None:
    """Words must have an end, ids must have embeddings, and logits must be what the output layer says."""
    vocabulary = int(model.get_input_embeddings().num_embeddings)
    if len(tokenizer) > vocabulary:
        raise ArtifactError(f"{folder}: the tokenizer knows {len(tokenizer)} tokens, the model only {vocabulary}.")
    if tokenizer.eos_token is None:
        raise ArtifactError(f"{folder}: the tokenizer has no end token. Set eos_token in its tokenizer_config.json.")
    ids = torch.arange(min(4, vocabulary))[None]
    with torch.no_grad():
        states = model.base_model(inputs_embeds=model.get_input_embeddings()(ids), use_cache=False).last_hidden_state
        head = model.get_output_embeddings()
        expected = model(input_ids=ids, use_cache=False).logits.float()
        if head is None or not torch.allclose(head(states).float(), expected, rtol=0.02, atol=0.02):
            raise ArtifactError(
                f"{folder}: {model.config.model_type} does more to its logits than its output layer says (scales or "
                "caps them), which is not supported. Name another model in model.llm."
            )
