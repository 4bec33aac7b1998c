"""Tiny random models with byte tokenizers, saved as `transformers` folders: real classes, milliseconds to run."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from ilm.model.head import RetrievalHead


def save_language_model(folder: Path, architecture: str = "llama") -> Path:
    """A two-layer random causal LM of width 16 over bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({"<end>": 0} | {byte: i + 1 for i, byte in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    vocabulary = len(wrapped)
    if architecture == "llama":
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
                num_attention_heads=2, max_position_embeddings=512, tie_word_embeddings=True, initializer_range=0.2,
                bos_token_id=0, eos_token_id=0,
            )
        )  # fmt: skip
    else:
        model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=vocabulary, n_embd=16, n_layer=2, n_head=2, n_positions=512, initializer_range=0.2,
                bos_token_id=0, eos_token_id=0,
            )
        )  # fmt: skip
    model.save_pretrained(folder)
    return folder


def save_text_encoder(folder: Path) -> Path:
    """A three-layer random BERT of width 16 whose word pieces are single characters."""
    folder.mkdir(parents=True)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789().,:"
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "[unused0]",
        *letters,
        *(f"##{letter}" for letter in letters),
    ]
    (folder / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def plain_context(head: RetrievalHead, table: torch.Tensor, items: list[int], user: torch.Tensor) -> torch.Tensor:
    """The head's context [e] behind `items`, with the user's query outputs [q, h], item by item."""
    parts = head.item_context
    assert parts is not None
    if not items:
        return parts.user_strength * F.normalize(head.item_projection(user.flatten()), dim=0)
    total = torch.zeros(table.shape[1])
    for strength, decay in zip(parts.strength, parts.decay.sigmoid(), strict=True):
        weights = [decay**age for age in reversed(range(len(items)))]
        for weight, item in zip(weights, items, strict=True):
            total = total + strength * weight / sum(weights) * table[item]
    return total + parts.attention(table[torch.tensor([items])])[0, -1]
