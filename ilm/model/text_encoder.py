"""A BERT-like text encoder as the start of a Q-Former: its layers, embeddings and tokenizer."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from ilm.errors import ArtifactError
from ilm.model.builtin import load_quietly
from ilm.model.qformer import QFormer, QFormerConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_ATTENTION = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention.norm",
}
_FEED_FORWARD = {"intermediate.dense": "up", "output.dense": "down", "output.LayerNorm": "norm"}


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """The text encoder's tokenizer."""
    from transformers import AutoTokenizer

    return cast("PreTrainedTokenizerFast", AutoTokenizer.from_pretrained(folder, local_files_only=True))


def from_text_encoder(
    folder: Path, *, layers: int, queries: int, cf_width: int, cf_tokens: int, cross_attention_every: int
) -> QFormer:
    """Build a Q-Former whose self-attention, text and query feed-forwards start as the lowest `layers` of the encoder.

    Cross-attention, CF expansion and queries start at random from torch's global generator, as in BLIP-2.

    Raises:
        ArtifactError: the encoder is not BERT-like, or has fewer layers than asked for.
    """
    from transformers import AutoConfig, BertModel

    load_quietly()
    bert = AutoConfig.from_pretrained(folder, local_files_only=True)
    if bert.model_type != "bert":
        raise ArtifactError(f"{folder}: a '{bert.model_type}' model; a Q-Former starts from a BERT-like encoder.")
    if bert.num_hidden_layers < layers:
        raise ArtifactError(f"{folder}: has {bert.num_hidden_layers} layers; model.layers asks for {layers}. Lower it.")
    encoder = BertModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False, dtype=torch.float32)
    config = QFormerConfig(
        hidden=bert.hidden_size,
        heads=bert.num_attention_heads,
        intermediate=bert.intermediate_size,
        vocabulary=bert.vocab_size,
        max_positions=bert.max_position_embeddings,
        layer_norm_eps=bert.layer_norm_eps,
        layers=layers,
        queries=queries,
        cf_width=cf_width,
        cf_tokens=cf_tokens,
        cross_attention_every=cross_attention_every,
    )
    qformer = QFormer(config)
    state = qformer.state_dict()
    state.update(_translated(encoder.state_dict(), layers))
    qformer.load_state_dict(state, strict=True)
    return qformer


def _translated(bert: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """BERT's parameter names -> ours. Token types do not exist in a Q-Former: type 0 is folded into the positions."""
    state = {
        "text_embeddings.words.weight": bert["embeddings.word_embeddings.weight"],
        "text_embeddings.positions.weight": bert["embeddings.position_embeddings.weight"]
        + bert["embeddings.token_type_embeddings.weight"][0],
        "embedding_norm.weight": bert["embeddings.LayerNorm.weight"],
        "embedding_norm.bias": bert["embeddings.LayerNorm.bias"],
    }
    for index in range(layers):
        for kind in ("weight", "bias"):
            source, target = f"encoder.layer.{index}", f"layers.{index}"
            for theirs, ours in _ATTENTION.items():
                state[f"{target}.{ours}.{kind}"] = bert[f"{source}.{theirs}.{kind}"]
            for theirs, ours in _FEED_FORWARD.items():
                for branch in ("text", "query"):
                    state[f"{target}.{branch}_feed_forward.{ours}.{kind}"] = bert[f"{source}.{theirs}.{kind}"]
    return state
