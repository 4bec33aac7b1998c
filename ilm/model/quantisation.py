"""The frozen language model's matrices in 4 bits (NF4 of bitsandbytes, as in QLoRA): an eighth of the memory of fp32.

Gradients pass through them to the soft tokens exactly: weights are unpacked, activations are not rounded. 8 bits are
not offered: LLM.int8 rounds activations, too.
"""

import importlib.util
import logging
from typing import Any

import torch

from ilm.errors import ConfigError

NONE, NF4 = "none", "nf4"
BYTES_PER_WEIGHT = 0.5 + 4 / 64
"""Of a quantised matrix: 4 bits, and one float32 scale for 64 weights."""


def loading_options(quantisation: str, dtype: torch.dtype) -> dict[str, Any]:
    """What `from_pretrained` is given.

    Args:
        quantisation: `model.quantisation`.
        dtype: in which matrix products are computed, and what is not quantised is held.

    Raises:
        ConfigError: bitsandbytes is not installed, or there is no such form.
    """
    if quantisation == NONE:
        return {}
    if quantisation != NF4:
        raise ConfigError(f"model.quantisation: '{quantisation}' is none of {NONE}, {NF4}.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            "model.quantisation nf4 needs the package bitsandbytes. Run `pip install "
            "'item-language-model[quantised]'`, or set model.quantisation to none."
        )
    from transformers import BitsAndBytesConfig

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it tells of kernels that it could download
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    return {"quantization_config": config, "device_map": {"": "cpu"}}


def keep_form(model: Any) -> None:
    """Have quantised matrices stay as they were loaded. To be called before the model is used.

    On CPUs with AVX512-BF16, bitsandbytes packs them anew at the first use without gradients; from then on they have
    other bytes, and no gradient goes through them, without a word (0.50; a test holds this against its next version).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
