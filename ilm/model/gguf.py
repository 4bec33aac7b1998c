"""Llama-type GGUF file -> folder that `transformers` loads (bfloat16 weights, config, tokenizer).

Gives the same bytes as transformers' own GGUF loader with `GgufConfig(dequantize=True)`, in a third of its time and
without accelerate; unlike it, keeps SmolLM2's digit splitting in the tokenizer.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ilm.errors import ArtifactError

_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_CONTROL_TOKEN = 3


def convert(path: Path, out: Path) -> None:
    """Write the model and tokenizer of a Llama-type GGUF file to the folder `out`.

    Raises:
        ArtifactError: the file holds another architecture.
    """
    reader = GGUFReader(str(path))

    def field(key: str) -> Any:
        return reader.fields[key].contents()

    if field("general.architecture") != "llama":
        raise ArtifactError(
            f"{path}: architecture '{field('general.architecture')}'. Only llama-type GGUF is converted."
        )
    heads, kv_heads = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
    state = _state_dict(reader, heads, kv_heads)
    tied = "lm_head.weight" not in state
    if tied:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    bos, eos = field("tokenizer.ggml.bos_token_id"), field("tokenizer.ggml.eos_token_id")
    config = LlamaConfig(
        vocab_size=field("llama.vocab_size"),
        hidden_size=field("llama.embedding_length"),
        intermediate_size=field("llama.feed_forward_length"),
        num_hidden_layers=field("llama.block_count"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=field("llama.context_length"),
        rms_norm_eps=field("llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": field("llama.rope.freq_base")},
        tie_word_embeddings=tied,
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=eos,
    )
    model = LlamaForCausalLM(config)
    model.load_state_dict(state, strict=True)
    nn.Module.to(model, torch.bfloat16)  # transformers annotates its own .to wrongly
    model.save_pretrained(out)
    _tokenizer(field, bos, eos).save_pretrained(out)


def _state_dict(reader: GGUFReader, heads: int, kv_heads: int) -> dict[str, torch.Tensor]:
    state = {}
    for tensor in reader.tensors:
        weight = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        layer = re.match(r"blk\.(\d+)\.(\w+)\.weight$", tensor.name)
        if layer:
            index, part = layer.groups()
            if part in ("attn_q", "attn_k"):
                weight = _undo_rotary_permutation(weight, heads if part == "attn_q" else kv_heads)
            name = f"model.layers.{index}.{_LAYER_NAMES[part]}.weight"
        else:
            name = _TOP_NAMES[tensor.name.removesuffix(".weight")] + ".weight"
        state[name] = torch.from_numpy(np.ascontiguousarray(weight))
    return state


def _undo_rotary_permutation(weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp interleaves the rows of q and k for its rotary kernel; put them back in halves."""
    return (
        weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
    )


def _tokenizer(field: Any, bos: int, eos: int) -> PreTrainedTokenizerFast:
    tokens, types = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in field("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=tokens[bos],
        eos_token=tokens[eos],
        pad_token=tokens[eos],
        unk_token=tokens[0],
        chat_template=field("tokenizer.chat_template"),
        model_max_length=field("llama.context_length"),
        clean_up_tokenization_spaces=False,
    )
